"""What can go wrong with CSM, each as one clear sentence."""


class CSMError(Exception):
    """Something that a person can understand and mend; the message says what and how."""


class CheckpointError(CSMError):
    """A checkpoint that is missing, damaged, or not CSM's."""


class ContextError(CSMError, ValueError):
    """A context that does not fit, or a Segment that makes no sense."""


class AudioError(CSMError, ValueError):
    """Sound that cannot be used: not finite, empty, or of an impossible rate."""


class TextError(CSMError, ValueError):
    """A text in which nothing can be spoken, or that is far too long."""


class OptionError(CSMError, ValueError):
    """A number of how to speak that makes no sense, such as a temperature below 0."""


class DeviceError(CSMError):
    """A device that this machine has not, or that torch cannot use."""


class DeviceMemoryError(DeviceError):
    """A device whose memory is used up; one call failed, and the others go on."""


class WatermarkError(CSMError):
    """A watermark that can be neither made nor looked for."""


class EngineBusyError(CSMError):
    """No slot is free; the sentence is for the caller."""


class EngineClosedError(CSMError):
    """The engine has stopped, or the session has."""
