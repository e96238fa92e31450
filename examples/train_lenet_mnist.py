"""Train LeNet-5 on MNIST: from nothing to 99 % in under a minute, offline, with pictures of what it learned.

    python examples/train_lenet_mnist.py                        the network people mean today
    python examples/train_lenet_mnist.py --model lenet5_1998    the network of 1998, partial connections and all
    python examples/train_lenet_mnist.py --resume               go on with the run in --out, as if it had not stopped

Into --out: checkpoint.safetensors, log.jsonl, and as PNG the learning curves, the filters of the first layer, the
confusion matrix and the worst mistakes.
"""

import argparse
from pathlib import Path

import minicnn
import models
from minicnn.data import MNIST
from minicnn.nn import CrossEntropyLoss
from minicnn.optim import SGD
from minicnn.optim.lr_scheduler import ExponentialLR
from minicnn.train import RunFolder, Trainer, teaching_errors
from models.lenet import MAPLoss

# learning rate, its factor after each epoch, weight decay, epochs, loss; momentum is 0.9
RECIPES = {
    "lenet5": (0.05, 0.75, 5e-4, 10, CrossEntropyLoss()),
    "lenet5_1998": (0.002, 0.75, 0.0, 8, MAPLoss()),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=RECIPES, help="default: lenet5")
    parser.add_argument("--epochs", type=int, help="default: the model's recipe")
    parser.add_argument("--batch-size", type=int, help="default: 64")
    parser.add_argument("--lr", type=float, help="learning rate of the first epoch; default: the model's recipe")
    parser.add_argument("--seed", type=int, help="of weights and shuffling; default: 0")
    parser.add_argument("--device", help="cpu (the default), reference, cuda or cuda-sim: see `minicnn devices`")
    parser.add_argument("--out", type=Path, default=Path("runs/lenet_mnist"), help="folder for results")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out, or start one")
    parser.add_argument("--data", type=Path, help="folder of IDX files to use instead of the embedded MNIST")
    args = parser.parse_args()

    if args.device is not None:
        minicnn.use(args.device)
    run = RunFolder(args.out)
    name = run.settings(vars(args), {"model": "lenet5"}, args.resume)["model"]
    lr, lr_factor, weight_decay, epochs, loss = RECIPES[name]
    defaults = {"model": name, "epochs": epochs, "batch_size": 64, "lr": lr, "seed": 0}
    settings = run.settings(vars(args), defaults, args.resume)

    train, test = MNIST.train(args.data), MNIST.test(args.data)
    minicnn.manual_seed(settings["seed"])
    model = models.create_model(name)
    optimizer = SGD(model.parameters(), settings["lr"], momentum=0.9, weight_decay=weight_decay)
    trainer = Trainer(model, optimizer, loss, ExponentialLR(optimizer, lr_factor), run.callbacks(test))
    run.begin(trainer, settings, args.resume)
    trainer.fit(train, test, settings["epochs"], settings["batch_size"], settings["seed"])
    run.report(trainer)
    print(f"test accuracy {100 * trainer.evaluate(test).accuracy:.2f} %")


if __name__ == "__main__":
    with teaching_errors():
        main()
