"""How a mend is put into MiniStack: by replacing one of its functions, and loudly where it is gone."""

import functools
from importlib import metadata

MINISTACK_VERSION = "1.5.33"


def check_version():
    """The mends reach into MiniStack's insides, so they hold for one version only."""
    found = metadata.version("ministack")
    if found != MINISTACK_VERSION:
        raise SystemExit(f"local cloud: made for ministack {MINISTACK_VERSION}, found {found}")


def mend(module, name):
    """Replaces `module.name` by the decorated function, which takes the original as its first argument."""
    original = getattr(module, name, None)
    if original is None:
        raise SystemExit(f"local cloud: {module.__name__}.{name} is gone; the mend of it has to be made anew")

    def decorate(replacement):
        mended = functools.wraps(original)(functools.partial(replacement, original))
        setattr(module, name, mended)
        actions = getattr(module, "_ACTION_MAP", {})  # services that look their actions up in a table
        for action, handler in actions.items():
            if handler is original:
                actions[action] = mended
        return replacement

    return decorate


def set_value(module, name, value):
    """Replaces a constant of MiniStack's, which must exist."""
    if not hasattr(module, name):
        raise SystemExit(f"local cloud: {module.__name__}.{name} is gone")
    setattr(module, name, value)
