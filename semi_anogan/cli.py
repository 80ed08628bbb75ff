"""What the commands share: quiet start-up, config flags, and errors told in one line."""

import contextlib
import gc
import logging
import os
import pathlib
import re
import sys
import tempfile
from collections.abc import Sequence

from absl import app, flags
from ml_collections import config_flags

from semi_anogan.config import default_config, flat, nearest_key
from semi_anogan.errors import UserError

SURFACE, FOLDER = "surface", "folder"  # configurations: of the embedded data, of a person's own

flags.disclaim_key_flags()  # so that --help lists --config among the options of the command that asked for it


def run(main):
    """Runs main(argv) as a command: errors a user can mend end it with one line and exit code 1."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.basicConfig(level=logging.WARNING, format="%(message)s")

    def guarded(argv):
        if len(argv) > 1:
            refuse(f"unexpected argument {argv[1]!r}; options are written --name=value")
        with told_errors():
            sys.exit(main(argv) or 0)

    app.run(guarded, argv=arranged(sys.argv, told=True), flags_parser=_parse_flags)


def _parse_flags(argv):
    """absl's parsing, with its errors told in one line."""
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        refuse(f"{error}; --help lists the options")
    except (AttributeError, KeyError) as error:
        _refuse_key(error)
    except OSError as error:  # of --config, whose keys are looked up here where some are given
        given = [a.partition("=")[2] for a in argv if a.startswith("--config=")]
        _refuse_file(given[-1] if given else "", error)


def define_config(text: str):
    """Defines --config and --config.KEY; a key that there is not ends the command with one line.

    ml_collections looks the keys up when the flag is defined, and again in the file of --config when flags
    are parsed.
    """
    try:
        return config_flags.DEFINE_config_file(
            "config", config_for(sys.argv), text, sys_argv=arranged(sys.argv)
        )
    except (AttributeError, KeyError) as error:
        _refuse_key(error)


def config_of(holder):
    """The configuration of define_config's flag; a file that cannot be loaded ends the command."""
    flag = flags.FLAGS[holder.name]
    try:
        holder.value.lock()  # ml_collections keeps a failure to itself until the configuration is used
        taken = pathlib.Path(config_flags.get_config_filename(flag)).stem
        if flag.using_default_value and taken != SURFACE:
            print(f"note: no --config is given; taking configs/{taken}.py, as --config.data asks for")
            if holder.value.data.path and "data.name" not in config_flags.get_override_values(flag):
                holder.value.data.name = "manifest"
        return holder.value
    except OSError as error:
        _refuse_file(config_flags.get_config_filename(flags.FLAGS[holder.name]), error)


def config_for(argv: Sequence[str]) -> str:
    """The file of the configuration where no --config is given: that of the data that --config.data names.

    Without a name of a source, data.root means images in folders and data.path a CSV file.
    """
    given, arguments = {}, list(argv[1:])
    for argument, following in zip(arguments, [*arguments, ""][1:], strict=True):
        name, equals, value = argument.lstrip("-").partition("=")
        if argument.startswith("-") and name.startswith("config.data."):
            given[name.removeprefix("config.data.")] = value if equals else following
    taken = given.get("name") or (FOLDER if "root" in given or "path" in given else SURFACE)
    if taken not in installed_configs():  # a source that has no configuration of its own
        taken = FOLDER
    return str(config_folder() / f"{taken}.py")


def arranged(argv: list[str], told: bool = False) -> list[str]:
    """The arguments as ml_collections wants them: --config first, an existing file.

    A file that does not exist here is looked for by its name among the installed configurations; told: and a
    line says so.
    """
    first, others, waiting = [], [], list(argv[1:])
    while waiting:
        argument = waiting.pop(0)
        if argument in ("--config", "-config") and waiting:
            argument = f"--config={waiting.pop(0)}"
        name, equals, value = argument.partition("=")
        if name in ("--config", "-config") and equals:
            path = _config_path(value)
            if told and path != value:
                print(f"note: {value} is no file here; taking the installed {path}")
            first.append(f"--config={path}")
        else:
            others.append(argument)
            if argument == "--":  # what follows is not ours
                others += waiting
                break
    return [*argv[:1], *first, *others]


def _config_path(path: str) -> str:
    """The path, or the installed configuration that NAME, NAME.py or configs/NAME.py means else."""
    given = pathlib.Path(path)
    installed = config_folder() / f"{given.stem}.py"
    meant = str(given.parent) in (".", "configs") and given.suffix in ("", ".py")
    return str(installed) if meant and given.stem in installed_configs() and not given.is_file() else path


def _refuse_key(error: Exception):
    """Names the key that there is not, on the command line or in the file, with the nearest one as a hint."""
    given = [a.partition("=")[0] for a in sys.argv[1:] if a.startswith("--config.")]
    known = flat(default_config().to_dict())
    unknown = [a for a in given if a.removeprefix("--config.") not in known]
    in_file = re.search(r'Key "(\w+)" does not exist', str(error))  # as ml_collections says it
    if unknown:
        what, key = unknown[0], unknown[0].removeprefix("--config.")
    elif in_file:
        what, key = f"--config: {in_file[1]}", in_file[1]
    else:
        refuse(f"--config: {' '.join(str(error).split())}")
    refuse(f"{what}: there is no such key of the configuration; the nearest is {nearest_key(key)}")


def _refuse_file(path: str, error: OSError):
    if os.path.isfile(path.split(":")[0]):
        refuse(f"--config: {' '.join(str(error).split())}")
    refuse(
        f"--config: {path}: no such file here, nor a configuration that is installed; "
        f"installed are {', '.join(installed_configs())}"
    )


def refuse(text: str):
    """Ends a command whose options are wrong with one line and exit code 2."""
    print(f"error: {text}", file=sys.stderr)
    sys.exit(2)


def load_framework():
    """Imports Keras with its backend; what libraries print meanwhile is shown only if that fails.

    Without garbage collection, which finds nothing in the many objects of an import and takes a fifth of it.
    """
    gc.disable()
    try:
        with quiet():
            import semi_anogan.backend  # noqa: F401
    finally:
        gc.enable()


@contextlib.contextmanager
def quiet(*telling: type[Exception]):
    """What libraries print on stderr inside is shown only if it fails.

    telling: errors that say enough without it.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            yield
        except telling:
            raise
        except BaseException:
            sys.stderr.flush()
            captured.seek(0)
            os.write(saved, captured.read())
            raise
        finally:
            sys.stderr.flush()
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
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def config_folder() -> pathlib.Path:
    """Where the config files are: configs/ of a checkout, or the installed semi_anogan.configs."""
    import semi_anogan.configs

    return pathlib.Path(semi_anogan.configs.__path__[0])


def installed_configs() -> list[str]:
    """The names of the configurations there: elpv, folder, ..."""
    return sorted(path.stem for path in config_folder().glob("*.py") if path.stem != "__init__")
