"""The config as pods of daypass get it: a ConfigMap, and a mark on the pods that says which."""

import hashlib
import json

from daypass.spec import Config

CONFIG_FOLDER, CONFIG_FILE = "/etc/daypass", "daypass.yaml"
CONFIG_HASH = "daypass.dev/config-hash"


def config_text(config: Config) -> str:
    """Without what is of the machine that it was written on."""
    document = config.model_dump(mode="json", exclude_none=True, exclude={"local"})
    document["cluster"].pop("certificateAuthority", None)
    return json.dumps(document, indent=2, sort_keys=True) + "\n"  # JSON is YAML


def config_mark(text: str) -> dict[str, str]:
    """Annotations of a pod: another config is another pod."""
    return {CONFIG_HASH: hashlib.sha256(text.encode()).hexdigest()[:16]}
