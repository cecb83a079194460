"""Models: `entry`, `lora` and `chain` are torch-free; `load` and `tiny` load torch and are imported where they run."""

import logging
import warnings

# both speak to developers of the libraries, at every import or at every adapter, and ask nothing of a user
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
