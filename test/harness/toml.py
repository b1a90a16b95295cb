# SPDX-License-Identifier: Apache-2.0
"""Python values as TOML, for the configurations of tests: {"engine": [{...}], "limits": {...}}."""

import json


def _value(v):
    if isinstance(v, bool):
        return "true" if v else "false"
    if isinstance(v, (int, float)):
        return repr(v)
    if isinstance(v, str):
        return json.dumps(v, ensure_ascii=False)
    if isinstance(v, (list, tuple)):
        return "[" + ", ".join(_value(x) for x in v) + "]"
    if isinstance(v, dict):
        return "{ " + ", ".join(f"{json.dumps(k)} = {_value(x)}" for k, x in v.items()) + " }"
    raise TypeError(type(v))


def dump(config):
    lines = []
    for key, v in config.items():
        if not isinstance(v, dict) and not (isinstance(v, list) and v and isinstance(v[0], dict)):
            lines.append(f"{key} = {_value(v)}")
    for key, v in config.items():
        if isinstance(v, dict) and key == "model":
            for name, row in v.items():
                lines += [f"[model.{json.dumps(name)}]"] + [f"{k} = {_value(x)}" for k, x in row.items()]
        elif isinstance(v, dict):
            lines += [f"[{key}]"] + [f"{k} = {_value(x)}" for k, x in v.items()]
        elif isinstance(v, list) and v and isinstance(v[0], dict):
            for row in v:
                lines += [f"[[{key}]]"] + [f"{k} = {_value(x)}" for k, x in row.items()]
    return "\n".join(lines) + "\n"
