"""The errors of torchvision's AlexNet on ImageNet-C, which define the mean Corruption Error (mCE).

Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations" (ICLR 2019),
section 4.1. The numbers are those of ALEXNET_ERR in imagenet.py of github.com/google-research/augmix, which took them
from the authors' table at github.com/hendrycks/robustness.
"""

ALEXNET = {  # top-1 error by the center crop, the mean over the five severities
    "gaussian_noise": 0.886428,
    "shot_noise": 0.894468,
    "impulse_noise": 0.922640,
    "defocus_blur": 0.819880,
    "glass_blur": 0.826268,
    "motion_blur": 0.785948,
    "zoom_blur": 0.798360,
    "snow": 0.866816,
    "frost": 0.826572,
    "fog": 0.819324,
    "brightness": 0.564592,
    "contrast": 0.853204,
    "elastic_transform": 0.646056,
    "pixelate": 0.717840,
    "jpeg_compression": 0.606500,
}
