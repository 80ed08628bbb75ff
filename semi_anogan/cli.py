"""What the commands share: quiet start-up, config flags, and errors told in one line."""

import contextlib
import logging
import os
import pathlib
import sys
import tempfile

from absl import app, flags


def run(main):
    """Runs main(argv) as a command: errors a user can mend end it with one line and exit code 1."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.basicConfig(level=logging.WARNING, format="%(message)s")

    def guarded(argv):
        if len(argv) > 1:
            print(f"error: unexpected argument {argv[1]!r}; options are written --name=value", file=sys.stderr)
            sys.exit(2)
        with told_errors():
            sys.exit(main(argv) or 0)

    app.run(guarded, flags_parser=_parse_flags)


def _parse_flags(argv):
    """absl's parsing; an unknown config key or file becomes one line that names it, not a traceback."""
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        _refuse(f"{error}; --help lists the options")
    except (AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        wrong = next((a for a in argv[1:] if a.startswith("--config")), "--config")
        keys = [a.split("=")[0] for a in argv[1:] if a.startswith("--config.")]
        text = " ".join(str(error).replace("\n", " ").split())
        _refuse(f"{text} (in {', '.join(keys) or wrong})" if isinstance(error, AttributeError) else f"{wrong}: {text}")


def _refuse(text: str):
    print(f"error: {text}", file=sys.stderr)
    sys.exit(2)


def load_framework():
    """Imports Keras with its backend; what the backend's libraries print while loading is shown only if that fails."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            import semi_anogan.backend  # noqa: F401
        except BaseException:
            captured.seek(0)
            os.write(saved, captured.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


@contextlib.contextmanager
def told_errors():
    """Turns the errors a user can mend into one line on stderr and exit code 1."""
    try:
        yield
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if not isinstance(error, _user_errors()):
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def _user_errors() -> tuple[type[Exception], ...]:
    from semi_anogan.checkpoint import CheckpointError
    from semi_anogan.config import ConfigError
    from semi_anogan.data.dataset import DataError
    from semi_anogan.runs import RunError

    return CheckpointError, ConfigError, DataError, RunError


def config_folder() -> pathlib.Path:
    """Where the config files are: configs/ of a checkout, or the installed semi_anogan.configs."""
    import semi_anogan.configs

    return pathlib.Path(semi_anogan.configs.__path__[0])


def default_config_file() -> str:
    return str(config_folder() / "surface.py")
