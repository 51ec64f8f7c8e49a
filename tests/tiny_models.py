"""Tiny models of Hugging Face with random weights, kept in folders as real ones are."""

from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

SMALL: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}


def save_tokenizer(folder: Path) -> int:
    """A tokenizer of bytes; the number of its ids."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    ids = {"[PAD]": 0, "[END]": 1} | {sign: place + 2 for place, sign in enumerate(alphabet)}
    tokenizer = Tokenizer(models.BPE(ids, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", eos_token="[END]", model_max_length=64
    ).save_pretrained(folder)
    return len(ids)


def _saved(folder: Path, model: Any) -> Path:
    model.save_pretrained(folder)
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Those of a saved model by name."""
    return load_file(folder / "model.safetensors")


def replace_weights(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Gives a saved model others."""
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def bert(folder: Path) -> Path:
    vocab = save_tokenizer(folder)
    torch.manual_seed(0)
    config = transformers.BertConfig(**SMALL, vocab_size=vocab, max_position_embeddings=64, pad_token_id=0)
    return _saved(folder, transformers.BertModel(config))


def t5(folder: Path) -> Path:
    vocab = save_tokenizer(folder)
    torch.manual_seed(0)
    config = transformers.T5Config(
        d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, vocab_size=vocab, pad_token_id=0, eos_token_id=1,
        decoder_start_token_id=0,
    )  # fmt: skip
    return _saved(folder, transformers.T5Model(config))


def llama(folder: Path) -> Path:
    vocab = save_tokenizer(folder)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        **SMALL, num_key_value_heads=1, vocab_size=vocab, max_position_embeddings=512, pad_token_id=0, eos_token_id=1,
        bos_token_id=1, tie_word_embeddings=True, initializer_range=0.3,
    )  # fmt: skip
    return _saved(folder, transformers.LlamaForCausalLM(config))


def clip(folder: Path) -> Path:
    vocab = save_tokenizer(folder)
    torch.manual_seed(0)
    config = transformers.CLIPConfig(
        text_config={**SMALL, "vocab_size": vocab, "max_position_embeddings": 32, "eos_token_id": 1, "bos_token_id": 1,
                     "pad_token_id": 0},
        vision_config={**SMALL, "image_size": 16, "patch_size": 8},
        projection_dim=8,
    )  # fmt: skip
    transformers.CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=16).save_pretrained(folder)
    return _saved(folder, transformers.CLIPModel(config))


def siglip(folder: Path) -> Path:
    vocab = save_tokenizer(folder)
    torch.manual_seed(0)
    config = transformers.SiglipConfig(
        text_config={**SMALL, "vocab_size": vocab, "max_position_embeddings": 32},
        vision_config={**SMALL, "image_size": 16, "patch_size": 8},
    )
    transformers.SiglipImageProcessor(size={"height": 16, "width": 16}).save_pretrained(folder)
    return _saved(folder, transformers.SiglipModel(config))


def dino(folder: Path) -> Path:
    torch.manual_seed(0)
    config = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14
    )
    transformers.BitImageProcessor(size={"shortest_edge": 32}, crop_size=28).save_pretrained(folder)
    return _saved(folder, transformers.Dinov2Model(config))


def whisper(folder: Path) -> Path:
    torch.manual_seed(0)
    config = transformers.WhisperConfig(
        d_model=16, encoder_layers=2, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=32, decoder_ffn_dim=32, num_mel_bins=80, max_source_positions=50, vocab_size=10,
        pad_token_id=0, bos_token_id=1, eos_token_id=1, decoder_start_token_id=1, suppress_tokens=[],
        begin_suppress_tokens=[],
    )  # fmt: skip
    transformers.WhisperFeatureExtractor(chunk_length=1).save_pretrained(folder)
    return _saved(folder, transformers.WhisperModel(config))


def wav2vec2(folder: Path) -> Path:
    torch.manual_seed(0)
    config = transformers.Wav2Vec2Config(
        **SMALL, conv_dim=(8, 8), conv_stride=(5, 4), conv_kernel=(10, 4), num_feat_extract_layers=2,
        num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    transformers.Wav2Vec2FeatureExtractor(sampling_rate=4000).save_pretrained(folder)
    return _saved(folder, transformers.Wav2Vec2Model(config))


def clap(folder: Path) -> Path:
    vocab = save_tokenizer(folder)
    torch.manual_seed(0)
    config = transformers.ClapConfig(
        text_config={**SMALL, "vocab_size": vocab, "max_position_embeddings": 64, "pad_token_id": 0},
        audio_config={"spec_size": 64, "num_mel_bins": 64, "patch_embeds_hidden_size": 8, "hidden_size": 16,
                      "depths": [1, 1], "num_hidden_layers": 2, "num_attention_heads": [2, 2], "window_size": 4,
                      "projection_dim": 8},
        projection_dim=8,
    )  # fmt: skip
    transformers.ClapFeatureExtractor(
        feature_size=64, max_length_s=1, truncation="rand_trunc", sampling_rate=4000, hop_length=100,
        fft_window_size=256, frequency_max=2000,
    ).save_pretrained(folder)  # fmt: skip
    return _saved(folder, transformers.ClapModel(config))


def autoencoder(folder: Path, kind: str) -> Path:
    """An autoencoder of diffusers that divides sides by 4."""
    import diffusers

    torch.manual_seed(0)
    if kind == "AutoencoderKL":
        model = diffusers.AutoencoderKL(
            block_out_channels=(8, 8, 8), down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3, latent_channels=4, norm_num_groups=4, sample_size=16,
            scaling_factor=0.5, shift_factor=0.1,
        )  # fmt: skip
    elif kind == "AutoencoderTiny":
        blocks = {"encoder_block_out_channels": (8, 8, 8), "decoder_block_out_channels": (8, 8, 8)}
        model = diffusers.AutoencoderTiny(**blocks, num_encoder_blocks=(1, 1, 1), num_decoder_blocks=(1, 1, 1))
    else:
        model = diffusers.AutoencoderDC(
            latent_channels=4, attention_head_dim=4, encoder_block_types="ResBlock", decoder_block_types="ResBlock",
            encoder_block_out_channels=(8, 8, 8), decoder_block_out_channels=(8, 8, 8),
            encoder_layers_per_block=(1, 1, 1), decoder_layers_per_block=(1, 1, 1),
            encoder_qkv_multiscales=((), (), ()), decoder_qkv_multiscales=((), (), ()), scaling_factor=0.3,
        )  # fmt: skip
    return _saved(folder, model)


def sound_codec(folder: Path, kind: str) -> Path:
    """A codec of sound at 4,000 Hz with frames of 64 samples, whose codebooks are spread out."""
    torch.manual_seed(0)
    size = {"codebook_size": 16, "sampling_rate": 4000}
    if kind == "encodec":
        model: Any = transformers.EncodecModel(transformers.EncodecConfig(
            **size, target_bandwidths=[1.0], hidden_size=8, num_filters=4, upsampling_ratios=[8, 8], num_lstm_layers=1,
            codebook_dim=8,
        ))  # fmt: skip
    elif kind == "mimi":
        model = transformers.MimiModel(transformers.MimiConfig(
            **size, hidden_size=8, num_filters=4, upsampling_ratios=[8, 4], num_hidden_layers=1, intermediate_size=16,
            num_attention_heads=2, num_key_value_heads=2, codebook_dim=4, vector_quantization_hidden_dimension=4,
            num_quantizers=4, upsample_groups=8, layer_scale_initial_scale=0.5,
        ))  # fmt: skip
    else:
        model = transformers.DacModel(transformers.DacConfig(
            **size, encoder_hidden_size=4, decoder_hidden_size=16, downsampling_ratios=[8, 8], n_codebooks=4,
            codebook_dim=4,
        ))  # fmt: skip
    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if ("embed" in name and "avg" not in name) or "codebook.weight" in name:
                tensor.normal_()
    return _saved(folder, model)


def hifigan(folder: Path, **arguments: Any) -> Path:
    """A vocoder of spectrograms of 20 bands with frames of 16 samples at 16,000 Hz."""
    torch.manual_seed(0)
    config = transformers.SpeechT5HifiGanConfig(
        **{"model_in_dim": 20, "upsample_initial_channel": 8, "upsample_rates": [4, 4], "initializer_range": 0.3,
           "upsample_kernel_sizes": [8, 8], "resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1, 3, 5]],
           **arguments}
    )  # fmt: skip
    return _saved(folder, transformers.SpeechT5HifiGan(config))


def univnet(folder: Path, **arguments: Any) -> Path:
    """A vocoder of spectrograms of 20 bands with frames of 16 samples at 24,000 Hz, and its feature extractor."""
    torch.manual_seed(0)
    config = transformers.UnivNetConfig(
        model_in_channels=4, model_hidden_channels=4, num_mel_bins=20, resblock_kernel_sizes=[3, 3],
        resblock_stride_sizes=[4, 4], resblock_dilation_sizes=[[1, 3], [1, 3]], kernel_predictor_num_blocks=1,
        kernel_predictor_hidden_channels=4, initializer_range=0.3,
    )  # fmt: skip
    transformers.UnivNetFeatureExtractor(
        num_mel_bins=20, hop_length=16, win_length=256, filter_length=256, model_in_channels=4, **arguments
    ).save_pretrained(folder)
    return _saved(folder, transformers.UnivNetModel(config))


def denoiser(folder: Path, kind: str, channels: int = 4) -> Path:
    """A network of diffusers for pictures of so many channels, which attends to tokens of width 8."""
    import diffusers

    torch.manual_seed(0)
    if kind == "UNet2DConditionModel":
        model: Any = diffusers.UNet2DConditionModel(
            sample_size=8, in_channels=channels, out_channels=channels, block_out_channels=(8, 8), layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), cross_attention_dim=8,
            attention_head_dim=4, norm_num_groups=4,
        )  # fmt: skip
    else:
        model = diffusers.PixArtTransformer2DModel(
            num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=8, num_layers=2, sample_size=8,
            cross_attention_dim=16, caption_channels=8, norm_num_groups=4,
        )  # fmt: skip
        torch.nn.init.normal_(model.proj_out.weight, std=0.1)
    return _saved(folder, model)
