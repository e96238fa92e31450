"""Pictures: the right content at its place, nothing cut off, the same bytes twice, a file only when it is whole."""

import itertools
import os
import subprocess
import sys
import threading

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb

from minicnn import Tensor
from minicnn.errors import ArgumentError, MissingPackageError, ShapeError, TrainingError
from minicnn.explain import confusion, drawing, pictures
from minicnn.explain.pictures import confusion_matrix, first_layer_filters, learning_curves, worst_mistakes

TEN = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
DIGITS = [str(i) for i in range(10)]


def history(epochs=5):
    rows = []
    for epoch in range(1, epochs + 1):
        rows.append({"epoch": epoch, "train_loss": 2.0 / epoch**2, "train_accuracy": 1 - 0.3 / epoch**2})
        rows[-1] |= {"test_loss": 0.5 + 0.1 * abs(epoch - 3), "test_accuracy": 0.90 - 0.01 * abs(epoch - 4)}
    return rows


def counts(n, seed=0):
    random = np.random.default_rng(seed)
    return (random.random((n, n)) < 0.1) * random.integers(1, 9, (n, n)) + 900 * np.eye(n, dtype=int)


def mistakes(n=40, shape=(28, 28), seed=0, classes=10):
    """images, labels, predictions (all wrong) and confidences."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, n)
    wrong = (labels + random.integers(1, classes, n)) % classes
    return random.integers(0, 256, (n, *shape)).astype(np.uint8), labels, wrong, random.random(n)


def pixels(figure):
    """(H, W, 3) uint8, as in the file."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def place(figure, text, align=("center", "left", "right")):
    """(x, y) of the one text on a board that reads `text` and is aligned so, in pixels."""
    (found,) = [t for t in figure.axes[0].texts if t.get_text() == text and t.get_ha() in align]
    return found.get_position()


def color(name):
    return tuple(round(255 * channel) for channel in to_rgb(name))


def at(image, x, y):
    return tuple(int(channel) for channel in image[int(y), int(x)])


# --- what all pictures have in common ---------------------------------------------------------------------------------

EXAMPLES = {
    "curves": lambda: pictures._learning_curves_figure(history()),
    "curves of many epochs": lambda: pictures._learning_curves_figure(history(200)),
    "curves of one epoch": lambda: pictures._learning_curves_figure(history(1)),
    "curves with little": lambda: pictures._learning_curves_figure([{"epoch": 1, "train_loss": 12345.678}]),
    "6 filters": lambda: pictures._first_layer_filters_figure(np.ones((6, 1, 5, 5))),
    "1 filter": lambda: pictures._first_layer_filters_figure(np.ones((1, 1, 3, 3))),
    "24 filters": lambda: pictures._first_layer_filters_figure(np.ones((24, 3, 11, 11))),
    "200 filters": lambda: pictures._first_layer_filters_figure(np.ones((200, 1, 3, 9))),
    "deep filters": lambda: pictures._first_layer_filters_figure(np.ones((64, 64, 3, 3))),
    "large filters": lambda: pictures._first_layer_filters_figure(np.ones((9, 1, 150, 90))),
    "digits": lambda: confusion.confusion_matrix_figure(counts(10), DIGITS),
    "2 classes": lambda: confusion.confusion_matrix_figure(np.diag([5, 0]), ["cat", "dog"]),
    "names": lambda: confusion.confusion_matrix_figure(counts(10), TEN),
    "25 long names": lambda: confusion.confusion_matrix_figure(9999 * counts(25), ["a very long name of a class"] * 25),
    "100 classes": lambda: confusion.confusion_matrix_figure(counts(100), ["a very long name of a class"] * 100),
    "1001 classes": lambda: confusion.confusion_matrix_figure(counts(1001), ["a very long name of a class"] * 1001),
    "worst": lambda: pictures._worst_mistakes_figure(*mistakes(), DIGITS, 32),
    "worst of one": lambda: pictures._worst_mistakes_figure(*mistakes(1), ["a very long name of a class"] * 10, 32),
    "worst photographs": lambda: pictures._worst_mistakes_figure(*mistakes(9, (3, 200, 160)), TEN, 32),
    "no mistakes": lambda: pictures._worst_mistakes_figure(*mistakes(0), TEN, 32),
}


@pytest.fixture(scope="module")
def drawn():
    """Each example, drawn once."""
    figures = {name: example() for name, example in EXAMPLES.items()}
    return {name: (figure, pixels(figure)) for name, figure in figures.items()}


@pytest.mark.parametrize("name", EXAMPLES)
def test_nothing_is_cut_off_and_no_text_covers_another(drawn, name):
    figure, image = drawn[name]
    assert 400 <= image.shape[1] <= 1200
    for edge in (image[:2], image[-2:], image[:, :2], image[:, -2:]):
        assert (edge == 255).all()
    said = [text for axes in figure.axes for text in axes.texts if text.get_text()]
    boxes = [(text, text.get_window_extent().extents) for text in said]
    for text, (left, bottom, right, top) in boxes:
        assert min(left, bottom, image.shape[1] - right, image.shape[0] - top) >= 0, text
    for (one, (left, bottom, right, top)), (other, box) in itertools.combinations(boxes, 2):
        if not one.get_rotation() == other.get_rotation() == 40:  # the boxes of tilted names overlap, the names do not
            assert left >= box[2] or box[0] >= right or bottom >= box[3] or box[1] >= top, (one, other)


WRITERS = {
    "curves": lambda path: learning_curves(history(), path),
    "filters": lambda path: first_layer_filters(np.arange(25.0).reshape(1, 1, 5, 5), path),
    "confusion": lambda path: confusion_matrix(counts(3), ["a", "b", "c"], path),
    "worst": lambda path: worst_mistakes(*mistakes(9), DIGITS, path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_the_same_picture_has_the_same_bytes(tmp_path, name):
    first = WRITERS[name](tmp_path / "first.png").read_bytes()
    others = {"text.color": "white", "axes.grid": True, "figure.facecolor": "black", "lines.linewidth": 9}
    with matplotlib.rc_context(others):
        threads = [threading.Thread(target=WRITERS[name], args=(str(tmp_path / f"{n}.png"),)) for n in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert first[:8] == b"\x89PNG\r\n\x1a\n"
    assert b"Software" not in first and b"tIME" not in first and b"tEXt" not in first
    assert first == (tmp_path / "0.png").read_bytes() == (tmp_path / "1.png").read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["0.png", "1.png", "first.png"]


@pytest.mark.parametrize("where", ["missing/picture.png", "file/picture.png", "folder"])
def test_a_path_that_cannot_be_written_is_one_sentence(tmp_path, where):
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "folder").mkdir()
    with pytest.raises(TrainingError) as caught:
        learning_curves(history(1), tmp_path / where)
    message = str(caught.value)
    assert str(tmp_path / where) in message and "\n" not in message and ". " not in message
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["file", "folder"]


def test_the_old_picture_stays_if_the_new_one_fails(tmp_path, monkeypatch):
    path = learning_curves(history(1), tmp_path / "curves.png")
    old = path.read_bytes()

    def fail(*paths):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(TrainingError, match="No space left on device"):
        learning_curves(history(2), path)
    assert path.read_bytes() == old and list(tmp_path.iterdir()) == [path]


def test_writers_of_one_path_do_not_meet(tmp_path, monkeypatch):
    parts, replace = [], os.replace
    monkeypatch.setattr("os.replace", lambda part, path: (parts.append(part), replace(part, path)))
    learning_curves(history(1), tmp_path / "curves.png")
    thread = threading.Thread(target=learning_curves, args=(history(1), tmp_path / "curves.png"))
    thread.start()
    thread.join()
    assert len({str(part) for part in parts}) == 2 and all(part.parent == tmp_path for part in parts)
    assert all(part.name.startswith(".") for part in parts)  # hidden, should a crash leave one behind


def test_a_missing_matplotlib_is_explained(tmp_path, monkeypatch):
    for name in list(sys.modules):
        if name.startswith("matplotlib"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingPackageError, match=r"pip install matplotlib$"):
        learning_curves(history(), tmp_path / "curves.png")


def test_matplotlib_is_imported_late_and_pyplot_never(tmp_path):
    code = f"""if True:
        import sys
        from minicnn.explain import learning_curves
        assert "matplotlib" not in sys.modules
        learning_curves([{{"epoch": 1, "train_loss": 1.0}}], {str(tmp_path / "curves.png")!r})
        assert "matplotlib.figure" in sys.modules and "matplotlib.pyplot" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", code], check=True)


# --- learning curves --------------------------------------------------------------------------------------------------


def curve(axes, label):
    (line,) = [line for line in axes.lines if line.get_label() == label]
    return line.get_xdata().tolist(), line.get_ydata().tolist()


def test_two_panels_with_both_splits():
    loss, error = pictures._learning_curves_figure(history()).axes
    assert (loss.get_title(loc="left"), error.get_title(loc="left")) == ("Loss", "Error rate")
    assert curve(loss, "test") == ([1, 2, 3, 4, 5], pytest.approx([0.7, 0.6, 0.5, 0.6, 0.7]))
    assert curve(error, "test") == ([1, 2, 3, 4, 5], pytest.approx([13, 12, 11, 10, 11]))
    assert curve(error, "training")[1] == pytest.approx([30 / epoch**2 for epoch in range(1, 6)])


def test_the_best_test_value_is_named_with_its_epoch():
    loss, error = pictures._learning_curves_figure(history()).axes
    assert [text.get_text() for text in loss.texts] == ["best test\n0.500\nepoch 3"]
    assert [text.get_text() for text in error.texts] == ["best test\n10.00 %\nepoch 4"]
    assert loss.texts[0].xy == (1, 0.5)  # in the margin, at its height


def test_of_equal_values_the_first_is_best():
    rows = [{"epoch": epoch, "test_loss": 1.0} for epoch in (1, 2, 3)]
    assert texts(pictures._learning_curves_figure(rows))[0] == "best test\n1.00\nepoch 1"


def test_without_test_values_the_best_is_of_training():
    figure = pictures._learning_curves_figure([{"epoch": 1, "train_loss": 1.5}, {"epoch": 2, "train_loss": 1.25}])
    assert texts(figure) == ["best training\n1.25\nepoch 2", "not measured"]


def test_epochs_without_a_value_are_skipped_not_broken():
    rows = history(5)
    for row in rows[1::2]:
        del row["test_loss"], row["test_accuracy"]
    rows[0]["train_loss"] = None
    loss, error = pictures._learning_curves_figure(rows).axes
    assert curve(loss, "test")[0] == curve(error, "test")[0] == [1, 3, 5]
    assert curve(loss, "training")[0] == [2, 3, 4, 5]


def test_nan_is_a_gap_and_never_the_best():
    rows = [{"epoch": epoch, "test_loss": loss} for epoch, loss in ((1, 2.0), (2, float("nan")), (3, float("inf")))]
    figure = pictures._learning_curves_figure(rows)
    pixels(figure)
    assert texts(figure)[:2] == ["gap: not a finite number", "best test\n2.00\nepoch 1"]
    assert texts(pictures._learning_curves_figure(rows[1:]))[0] == "no finite value"


@pytest.mark.parametrize(
    ("losses", "scale"), [((1, 0.5), "linear"), ((4, 1), "log"), ((5, 0), "linear"), ((8, 1, 0), "log")]
)
def test_the_scale_is_logarithmic_where_that_helps(losses, scale):
    rows = [{"epoch": epoch, "test_loss": loss} for epoch, loss in enumerate(losses, 1)]
    figure = pictures._learning_curves_figure(rows)
    pixels(figure)
    loss = figure.axes[0]
    assert loss.get_yscale() == scale
    low, high = loss.get_ylim()
    assert low <= loss.texts[0].xy[1] <= high  # also where the best is 0, which has no logarithm
    assert f"\n{min(losses):#.3g}\n" in loss.texts[0].get_text()


def test_one_epoch_is_in_the_middle_with_one_whole_number_below():
    figure = pictures._learning_curves_figure(history(1))
    pixels(figure)
    loss = figure.axes[0]
    assert loss.get_xlim() == (0.5, 1.5)
    assert [tick for tick in loss.get_xticks() if 0.5 <= tick <= 1.5] == [1]
    assert loss.lines[0].get_marker() not in ("", "None")  # a line of one point would not be seen


def test_an_empty_history_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match="empty"):
        learning_curves([], tmp_path / "curves.png")
    assert not list(tmp_path.iterdir())


# --- filters ----------------------------------------------------------------------------------------------------------


def tile(figure, image, number, rows, columns):
    """The (rows, columns, 3) colours of the filter above the text `number`; every square must be of one colour."""
    x, y = (int(value) for value in place(figure, number, ["center"]))
    bottom = y - 5
    width = next(w for w in range(1, 200) if at(image, x + w, bottom - 3) == color("#B5B5B5"))  # to the frame
    top = next(y for y in range(bottom - 2, 0, -1) if at(image, x, y) == color("#B5B5B5")) + 1
    left = x - width
    while at(image, left - 1, bottom - 3) != color("#B5B5B5"):
        left += 1
    right = x + width
    squares = image[top:bottom, left:right].reshape(rows, (bottom - top) // rows, columns, -1, 3)
    assert (squares == squares[:, :1, :, :1]).all()
    return squares[:, 0, :, 0]


def test_filters_share_one_scale_with_zero_white():
    weight = np.zeros((3, 1, 2, 2))
    weight[0, 0] = [[0, 4], [-4, 2]]
    weight[1, 0, 1, 1] = 2
    figure = pictures._first_layer_filters_figure(Tensor(weight))
    image = pixels(figure)
    first, second, third = (tile(figure, image, str(k), 2, 2) for k in range(3))
    blue, _, white, red, dark_red = [color(name) for name in pictures.SIGNED]
    assert [tuple(c) for c in first.reshape(4, 3)] == [white, dark_red, blue, red]
    assert tuple(second[1, 1]) == tuple(first[1, 1])  # the same number, the same colour, whatever else is in the filter
    assert (third == 255).all()
    assert {"+4", "−4", "0"} <= set(texts(figure))


def test_filters_of_three_channels_are_colours_with_zero_grey():
    weight = np.zeros((2, 3, 2, 2))
    weight[1, 0, 0, 0], weight[1, 2, 1, 0] = 0.5, -0.5
    figure = pictures._first_layer_filters_figure(weight)
    image = pixels(figure)
    assert abs(tile(figure, image, "0", 2, 2) - 127.5).max() < 1
    colored = tile(figure, image, "1", 2, 2)
    assert colored[0, 0].tolist() == [255, colored[0, 1, 1], colored[0, 1, 2]]
    assert colored[1, 0].tolist() == [colored[0, 1, 0], colored[0, 1, 1], 0]


def test_filters_of_other_depths_are_shown_by_channel():
    weight = np.random.default_rng(0).uniform(-1, 1, (5, 2, 3, 3))
    figure = pictures._first_layer_filters_figure(weight)
    image = pixels(figure)
    white_to_blue = [tile(figure, image, f"{k}, {c}", 3, 3)[..., 0] for k in range(5) for c in range(2)]
    negative = np.stack(white_to_blue).reshape(5, 2, 3, 3) < 200
    strong = np.abs(weight) > 0.4
    assert (negative == (weight < 0))[strong & (weight < 0)].all() and strong.sum() > 20
    assert [place(figure, f"0, {c}")[0] for c in (0, 1)] == [place(figure, "0, 0")[0]] * 2  # one below the other


def test_what_is_left_out_is_said():
    many = texts(pictures._first_layer_filters_figure(np.ones((200, 1, 3, 3))))
    assert many[0] == "First-layer filters: 128 of 200, each 3 × 3" and "127" in many and "128" not in many
    deep = texts(pictures._first_layer_filters_figure(np.ones((20, 64, 3, 3))))
    assert deep[0].startswith("First-layer filters: 16 of 20") and deep[1].endswith("(the first 8 of 64)")
    whole = texts(pictures._first_layer_filters_figure(np.ones((4, 1, 3, 5))))
    assert whole[0] == "First-layer filters: all 4, each 3 × 5"


def test_filters_without_contrast_and_without_sense():
    zero = pictures._first_layer_filters_figure(np.zeros((1, 1, 2, 2), np.float32))
    assert (tile(zero, pixels(zero), "0", 2, 2) == 255).all()
    broken = pictures._first_layer_filters_figure(np.array([[[[np.nan, np.inf], [1.0, 0.0]]]]))
    colors = tile(broken, pixels(broken), "0", 2, 2).reshape(4, 3)
    assert [tuple(c) for c in colors] == [color(drawing.INK)] * 2 + [color(pictures.SIGNED[-1]), (255, 255, 255)]


@pytest.mark.parametrize("shape", [(6, 25), (0, 1, 5, 5), (5, 5)])
def test_what_is_no_filter_is_refused(tmp_path, shape):
    with pytest.raises(ShapeError, match=r"\(K, C, R, S\)"):
        first_layer_filters(np.zeros(shape), tmp_path / "filters.png")


# --- confusion matrix -------------------------------------------------------------------------------------------------


def cell(figure, image, t, p, names):
    """The colour of a cell, in its corner, where no number is."""
    x, _ = place(figure, names[p], ["center"])
    _, y = place(figure, names[t], ["right"])
    return at(image, x - 22, y - 22)


def test_colour_shows_the_mistakes_and_not_the_diagonal():
    names = ["a", "b", "c"]
    matrix = np.array([[5000, 1, 0], [16, 80, 4], [0, 0, 7]])
    figure = confusion.confusion_matrix_figure(matrix, names)
    image = pixels(figure)
    assert {cell(figure, image, i, i, names) for i in range(3)} == {color(drawing.FAINT)}
    assert cell(figure, image, 1, 0, names) == color(confusion.MISTAKES[-1])  # the most frequent mistake: b as a
    assert cell(figure, image, 0, 2, names) == cell(figure, image, 2, 0, names) == (255, 255, 255)
    one, four, sixteen = (sum(cell(figure, image, *where, names)) for where in ((0, 1), (1, 2), (1, 0)))
    assert 3 * 255 - 40 > one > four + 40 and four > sixteen + 40  # also the rare ones can be seen


def test_numbers_and_accuracies_are_printed():
    matrix = np.array([[5000, 1, 0], [16, 80, 4], [0, 0, 0]])
    figure = confusion.confusion_matrix_figure(matrix, ["a", "b", "c"])
    said = texts(figure)
    assert {"5,000", "16", "80", "4", "1", "80.0 %", "no data", "true", "predicted"} <= set(said) and "0" not in said
    assert "99.9 %" in said and "100.0 %" not in said  # 5000 of 5001 is not all
    assert said[1] == "99.59 % right, 21 mistakes; most often b as a (16), b as c (4), a as b (1)"
    (worst,) = [text.get_text() for text in figure.axes[0].texts[2:] if text.get_weight() == "bold"]
    assert worst == "80.0 %"
    assert place(figure, "16")[1] > place(figure, "5,000")[1]  # true classes go down,
    assert place(figure, "4")[0] > place(figure, "16")[0]  # predicted ones to the right


def test_all_right():
    figure = confusion.confusion_matrix_figure(np.diag([3, 4]), ["a", "b"])
    assert texts(figure)[1] == "100.00 % right, no mistakes"
    assert not [text for text in figure.axes[0].texts[2:] if text.get_weight() == "bold"]


def test_many_classes_have_lists_instead_of_numbers():
    matrix = 100 * np.eye(40, dtype=int)
    matrix[7, 3], matrix[5, 6] = 50, 2
    said = texts(confusion.confusion_matrix_figure(matrix, [f"class {i}" for i in range(40)]))
    lists = said[said.index("Most frequent mistakes") :]
    assert lists[1:4] == ["7 class 7 as 3 class 3: 50", "5 class 5 as 6 class 6: 2", "Least accurate classes"]
    assert lists[4:] == ["7 class 7: 66.7 %", "5 class 5: 98.0 %"]
    assert "100" not in said


def test_the_bars_of_many_classes_are_as_long_as_their_accuracy():
    matrix = np.diag([100] * 35)
    matrix[4, 4], matrix[4, 5] = 50, 50
    figure = confusion.confusion_matrix_figure(matrix, [""] * 35)
    image = pixels(figure)
    left = int(place(figure, "100 %")[0]) - 80
    for i, length in ((3, 80), (4, 40), (5, 80)):
        row = image[drawing.TOP + 25 + 20 * i + 10, left : left + 80]
        assert (row == color(drawing.BLUE)).all(axis=1).sum() == length


def test_dollars_in_names_are_no_formulas():
    figure = confusion.confusion_matrix_figure(np.eye(2, dtype=int), ["$\\oops$", "5 $"])
    pixels(figure)
    assert texts(figure).count("$\\oops$") == 2


def test_a_matrix_that_does_not_fit_is_refused(tmp_path):
    with pytest.raises(ShapeError, match=r"of 3 classes has shape \(3, 3\), got \(2, 3\)"):
        confusion_matrix(np.ones((2, 3), int), ["a", "b", "c"], tmp_path / "confusion.png")
    with pytest.raises(ArgumentError, match="counts"):
        confusion_matrix([[0.9, 0.1], [0.5, 0.5]], ["a", "b"], tmp_path / "confusion.png")


# --- mistakes ---------------------------------------------------------------------------------------------------------


def test_the_most_confident_mistakes_come_first():
    images = np.zeros((6, 4, 4), np.uint8)
    labels, predictions = np.array([1, 2, 3, 4, 5, 6]), np.array([1, 0, 0, 0, 0, 0])
    confidences = [1.0, 0.5, 0.999999, 0.7, 0.7, 0.2]
    figure = pictures._worst_mistakes_figure(images, labels, predictions, confidences, DIGITS, 4)
    assert texts(figure) == [
        "The most confident mistakes: 4 of 5",
        "true class → predicted class, and how sure the network was; from 6 images",
        "3 → 0", "99.99 %", "4 → 0", "70 %", "5 → 0", "70 %", "2 → 0", "50 %",
    ]  # fmt: skip


def test_equal_confidences_keep_the_order_of_the_images():
    images, labels, predictions = np.zeros((100, 4, 4), np.uint8), np.arange(100) % 10, np.arange(100) // 10
    confidences = (np.arange(100) % 3) / 2
    figure = pictures._worst_mistakes_figure(images, labels, predictions, confidences, DIGITS, 90)
    order = [*range(2, 100, 3), *range(1, 100, 3), *range(0, 100, 3)]
    pairs = [f"{i % 10} → {i // 10}" for i in order if i % 10 != i // 10]
    assert [text for text in texts(figure)[2:] if "→" in text] == pairs


def shown(figure, image, index, box=128):
    """What is drawn at a place, (H, W, 3)."""
    left, top = drawing.LEFT + index * (box + 12), drawing.TOP
    return image[top : top + box, left : left + box]


def test_bytes_are_shown_as_they_are_and_other_numbers_from_black_to_white():
    levels = np.array([[[0, 60], [120, 180]], [[60, 60], [60, 60]]])
    for images, expected in (
        (levels.astype(np.uint8), levels),
        (levels / 180.0 - 0.5, levels / 180 * 255),  # one range for all images that are shown
        (levels[:, None].astype(np.float32), levels / 180 * 255),
    ):
        figure = pictures._worst_mistakes_figure(images, [1, 1], [2, 2], [0.9, 0.8], DIGITS, 9)
        image = pixels(figure)
        for index in range(2):
            squares = shown(figure, image, index).reshape(2, 64, 2, 64, 3).astype(int)
            assert (squares == squares[:, :1, :, :1]).all()
            assert abs(squares[:, 0, :, 0] - expected[index][..., None]).max() <= 1


def test_channels_come_first_and_are_red_green_blue():
    images = np.zeros((1, 3, 2, 2), np.uint8)
    images[0, 0, 0, 1] = 200
    images[0, 2, 1, 0] = 100
    figure = pictures._worst_mistakes_figure(images, [1], [2], [0.9], DIGITS, 9)
    squares = shown(figure, pixels(figure), 0).reshape(2, 64, 2, 64, 3)[:, 0, :, 0]
    assert squares.tolist() == [[[0, 0, 0], [200, 0, 0]], [[0, 0, 100], [0, 0, 0]]]


def test_a_constant_image_and_one_with_nan():
    for image, expected in (
        ([[7.0, 7.0], [7.0, 7.0]], [0, 0, 0, 0]),
        ([[np.nan, 1.0], [2.0, np.inf]], [0, 0, 255, 255]),
    ):
        figure = pictures._worst_mistakes_figure([image], [1], [2], [float("nan")], DIGITS, 9)
        assert shown(figure, pixels(figure), 0)[::64, ::64, 0].ravel().tolist() == expected
        assert texts(figure)[-1] == "no data"


def test_no_mistakes_is_said(tmp_path):
    images, labels, _, sure = mistakes(7)
    figure = pictures._worst_mistakes_figure(images, labels, labels, sure, DIGITS, 32)
    assert texts(figure)[1:] == ["none: all of 7 images were classified rightly", "no mistakes"]
    assert worst_mistakes(images, labels, labels, sure, DIGITS, tmp_path / "worst.png").stat().st_size > 0


def test_long_names_take_two_lines():
    figure = pictures._worst_mistakes_figure(*mistakes(1, classes=2), ["a very long name of a class", "cat"], 32)
    assert set(texts(figure)[2:4]) in ({"a very long name…", "→ cat"}, {"cat", "→ a very long name…"})


def test_mistakes_that_do_not_fit_are_refused(tmp_path):
    images, labels, predictions, sure = mistakes(5)
    path = tmp_path / "worst.png"
    with pytest.raises(ShapeError, match=r"\(N, 3, H, W\), got \(5, 28, 28, 2\)"):
        worst_mistakes(np.zeros((5, 28, 28, 2)), labels, predictions, sure, DIGITS, path)
    with pytest.raises(ShapeError, match=r"5 images need .* of shape \(5,\), got \(4,\)"):
        worst_mistakes(images, labels[:4], predictions, sure, DIGITS, path)
    with pytest.raises(ArgumentError, match="at least 1, got 0"):
        worst_mistakes(images, labels, predictions, sure, DIGITS, path, count=0)
    assert not list(tmp_path.iterdir())
