"""Runs of many jobs: ``client.images.fan_out``; and one job, sent once: ``client.images.once``.

===================  ==============================================================================
module               content
===================  ==============================================================================
``runner``           start and end of a run
``job_source``       jobs, read one by one
``scheduler``        start of each job, outcomes that were not taken yet
``worker``           one job, from its value to its outcome
``resume``           decision for a job that the journal knows
``ledger``           records of each attempt: journal and money
``store``            storage interface for job state
``journal``          that storage in SQLite, with ``database``, ``rows``, ``group_commit`` and ``lock``
``recovery``         images that a killed process had received, and its left-over files
``serialization``    responses and errors as JSON
``fingerprint``      identity of a job
``spending``         budget of a run
``output_files``     names and hashes of the files of a run
``progress``         counts for ``run.progress``
``dry_run``          the same decisions, without sending
``gallery``          web page of the images of a journal
``once``             one job of one call, with a claim in a shared store
``claim_store``      storage of that job: the claim
===================  ==============================================================================
"""
