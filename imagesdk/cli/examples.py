"""Examples at the end of each ``--help``."""

from __future__ import annotations

from typing import Final

OVERVIEW: Final = """\
examples:
  imagesdk demo                                      images without a key, drawn by the emulator
  imagesdk generate "a white siamese cat" -o cat.png
  imagesdk generate "a river" -n 4 -o rivers/        prints four paths
  imagesdk edit lounge.png "a lounge with a pool" --mask mask.png
  imagesdk vary corgi.png -n 2 --model dall-e-2 --base-url http://127.0.0.1:8000/v1
  imagesdk batch prompts.txt --out images/           one image per line; run again to resume
  imagesdk serve --port 8000                         an emulator of the Images API
  imagesdk cost "a river" --quality high             estimate the cost
  imagesdk models                                    facts about the models
  imagesdk doctor                                    check key, server, limit and network

The key is read from OPENAI_API_KEY. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 batch incomplete,
4 key refused, 5 refused by the content filter, 6 rate limit or quota, 129 SIGHUP, 130 Ctrl-C, 143 SIGTERM.
"""

EXAMPLES: Final = {
    "generate": """\
  imagesdk generate "a white siamese cat" -o cat.png
  imagesdk generate "a river" -n 4 --quality low -o "rivers/{index}.{ext}"
  imagesdk generate "a logo" --background transparent -o logo.webp
  echo "a river" | imagesdk generate - -o - > river.png
  imagesdk generate "a river" --dry-run              print the request and a curl line; send nothing
""",
    "edit": """\
  imagesdk edit lounge.png "a lounge with a pool" --mask mask.png -o pool.png
  imagesdk edit phone.jpg "a pool" --square crop --mask-box 0,0,512,512
  imagesdk edit cat.png hat.png "the cat wears the hat" -o cat-with-hat.png
""",
    "vary": """\
  imagesdk vary corgi.png -n 2 --model dall-e-2 --base-url http://127.0.0.1:8000/v1
  imagesdk --emulator vary phone.jpg --square crop --size 256x256
""",
    "batch": """\
  imagesdk batch prompts.txt --out images/ --dry-run     what it would send and cost
  imagesdk batch prompts.txt --out images/ --budget "20 USD" --quality medium
  imagesdk batch shop.csv --out "shop/{id}.{ext}" --id-column sku --prompt "photo of {name}"
  imagesdk batch prompts.txt --out images/               the same command resumes
""",
    "batches": """\
  imagesdk batches list
  imagesdk batches wait batch_abc123 --timeout 3600
  imagesdk batches fetch batch_abc123 --out images/
""",
    "log": """\
  imagesdk log images/
  imagesdk log images/ --state unknown --json
  imagesdk log images/ --ack --state refused             let refused jobs rest
""",
    "ledger": """\
  imagesdk ledger sqlite:///ledger.sqlite
""",
    "cost": """\
  imagesdk cost "a river" --quality high --size 1536x1024
  imagesdk cost "a pool" --edit lounge.png --quality medium -n 4
""",
    "models": """\
  imagesdk models
  imagesdk models gpt-image-2 --json
  imagesdk models --live                                 the models of the server
""",
    "serve": """\
  imagesdk serve --port 8000
  imagesdk serve --limit none --seed 7
  imagesdk serve --as-of 2023-06-01                      the API of that day
""",
    "demo": """\
  imagesdk demo
  imagesdk demo -o first-images/
""",
    "doctor": """\
  imagesdk doctor
  imagesdk doctor --base-url http://127.0.0.1:8000/v1 --json
""",
    "config": """\
  imagesdk config show
  imagesdk config show --json
""",
    "completion": """\
  imagesdk completion bash > ~/.local/share/bash-completion/completions/imagesdk
  imagesdk completion zsh > ~/.zfunc/_imagesdk
  imagesdk completion fish > ~/.config/fish/completions/imagesdk.fish
""",
}
"""Examples by command."""
