"""A model in one ONNX file at work: onnxruntime on the CPU."""

from pathlib import Path

import onnxruntime

from excite.deploy.onnx_file import refuse_external_data
from excite.errors import ModelError


def open_session(file: Path, *, threads: int) -> onnxruntime.InferenceSession:
    """Return an onnxruntime session on the CPU for a model in one file.

    Raises:
        ModelError: the file is missing, no ONNX model, keeps values in other files, or cannot be run here.
    """
    try:
        content = file.read_bytes()
    except OSError as fault:
        raise ModelError("the model cannot be read", where=file, why=fault.strerror or str(fault)) from None
    refuse_external_data(content, where=file)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    # Threads that wait between two operators spin for 50 us and then sleep: one image takes 2.2 to 2.8 ms, asleep at
    # once 3.3 to 3.9 ms, and spinning on takes the cores from the threads that read the next files.
    options.add_session_config_entry("session.intra_op.spin_duration_us", "50")
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as fault:  # onnxruntime's own kinds share no base class
        raise ModelError("this is no ONNX model that onnxruntime can run", where=file, why=first_line(fault),
                         fix="copy or export the bundle again") from None


def first_line(fault: Exception) -> str:
    """Return an error's text in one line, shortened."""
    return " ".join(str(fault).split())[:200]
