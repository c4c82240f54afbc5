"""tencrop: the 2012 AlexNet, trained, exported, served and measured."""
