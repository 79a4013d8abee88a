"""Base models, adapters and vision networks. Nothing here knows Dagster."""

import logging

# Imported by peft whether or not a model is quantized, bitsandbytes warns of an optional kernel that it would have to
# download and that nothing here uses.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
