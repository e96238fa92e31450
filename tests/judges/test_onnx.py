"""ONNX's own tests: every one that can be said with our ops passes; the others are listed, with the reasons."""

import collections
import fnmatch
import importlib.util
import itertools

import numpy as np
import pytest

from ..faults.planting import kernel
from ..properties import close
from .onnx_cases import KINDS, UNDERSTOOD, cases, run
from .onnx_operators import OPERATORS

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("onnx") is None, reason='onnx is not installed: pip install -e ".[test]"'
)

TOLERANCE = {"float64": 1e-12, "float32": 1e-5, "float16": 2e-3}  # of the largest number; integers and bools are exact
ROUNDED = {"test_averagepool_2d_ceil_last_window_starts_on_pad": 1e-3}  # written down with four digits
AT_LEAST = {"node": 807, "simple": 8, "pytorch-operator": 35, "pytorch-converted": 69}  # cases that pass

NO_OP = {  # operators that we do not have
    "recurrent networks and attention": """
        RNN LSTM GRU Attention FlexAttention LinearAttention RotaryEmbedding CausalConvWithState TensorScatter""",
    "control flow, sequences and optional values, for which there is Python": """
        If Loop Scan SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength SequenceMap
        SplitToSequence ConcatFromSequence OptionalGetElement OptionalHasElement""",
    "strings, tables, trees, files of images": """
        StringConcat StringNormalizer StringSplit RegexFullMatch TfIdfVectorizer LabelEncoder ArrayFeatureExtractor
        Binarizer TreeEnsemble ImageDecoder""",
    "quantised numbers": """
        QuantizeLinear DequantizeLinear DynamicQuantizeLinear QLinearConv QLinearMatMul ConvInteger MatMulInteger""",
    "bits and truth values, for which there is NumPy": """
        And Or Not Xor BitShift BitwiseAnd BitwiseOr BitwiseNot BitwiseXor BitCast IsInf IsNaN""",
    "functions that no classic CNN needs": """
        Ceil Mod Erf Tan Acos Asin Atan Cosh Sinh Acosh Asinh Atanh Celu Shrink Softsign ThresholdedRelu SwiGLU Hardmax
        LpNormalization MeanVarianceNormalization RMSNormalization Det""",
    "signals": "DFT STFT MelWeightMatrix BlackmanWindow HammingWindow HannWindow",
    "running sums, sorting, searching": """
        CumSum CumProd TopK Unique NonZero Compress NonMaxSuppression ReverseSequence""",
    "arrays made from nothing, for which there is NumPy": "EyeLike Range OneHot",
    "places that are data": "GridSample AffineGrid RoiAlign DeformConv",
    "what reshape, transpose, pad and slices say": "DepthToSpace SpaceToDepth CenterCropPad",
    "windows of other kinds": "LpPool Col2Im",
    "random numbers of another generator": "Bernoulli RandomUniformLike",
    "optimizers, which are no ops": "Adam Adagrad Momentum",
}
REASONS = {operator: reason for reason, operators in NO_OP.items() for operator in operators.split()}

EXCLUDED = {  # cases of operators that we do have
    "three axes of space": "*pool_3d_* test_convtranspose_3d test_*Pool3d* test_Conv3d*",
    "averages with gaps": "test_averagepool_2d_dilations",
    "integers or bools where ours takes floating-point numbers": """
        test_div_*int* test_max_*int* test_min_*int* test_maxpool_2d_uint8 test_reduce_*_bool_inputs test_pow_types_int*
        test_group_normalization_*_expanded""",
    "the largest of nothing is an error": "test_reduce_m??_empty_set*",
    "scattering that neither replaces nor adds": "test_scatter*_m??* test_scatternd_multiply",
    "resizing by other rules": """
        test_resize_*cubic* test_resize_tf_crop* test_resize_*antialias test_resize_*symmetric
        test_resize_*pytorch_half_pixel test_resize_downsample_scales_linear_align_corners
        test_resize_upsample_sizes_nearest_floor_align_corners test_resize_upsample_sizes_nearest_ceil_half_pixel
        test_resize_upsample_sizes_nearest_round_prefer_ceil_asymmetric
        test_resize_downsample_scales_nearest test_resize_downsample_sizes_nearest
        test_resize_downsample_sizes_nearest_not_smaller""",
    "pad that goes around": "test_wrap_pad",
    "einsum takes no diagonals": "test_einsum_batch_diagonal",
    "random numbers of another generator": """
        test_training_dropout test_training_dropout_mask test_training_dropout_default*""",
}


def is_number(value):
    """An array of numbers that NumPy has without help; others are bfloat16, float8, int4, strings."""
    return isinstance(value, np.ndarray) and value.dtype.isbuiltin == 1 and value.dtype.kind in "fciub"


def reason_against(case):
    """Why a case is not for us; None if it is."""
    missing = [operator for operator in (case.subject, *sorted(case.operators)) if operator not in UNDERSTOOD]
    if missing:
        return REASONS[missing[0]]
    if not all(map(is_number, (*case.inputs, *case.outputs))):
        return "bfloat16, float8, int4, strings"
    for reason, patterns in EXCLUDED.items():
        if any(fnmatch.fnmatchcase(case.name, pattern) for pattern in patterns.split()):
            return reason
    return None


def ours(kind, operator=None):
    return [case for case in cases(kind) if operator in (None, case.subject) and not reason_against(case)]


def judge(case, device):
    """Raises unless the model gives what ONNX says: dtypes, shapes and numbers."""
    with np.errstate(all="ignore"):  # some ask for the root of a negative number
        results = run(case.model, case.inputs, device)
    for result, expected in zip(results, case.outputs, strict=True):
        assert result.dtype == expected.dtype
        close(result, expected, case.name, ROUNDED.get(case.name, TOLERANCE.get(str(result.dtype), 0)))


@pytest.mark.parametrize("operator", OPERATORS)
def test_node(operator, device, subtests):
    assert ours("node", operator), "no case left"
    for case in ours("node", operator):
        with subtests.test(case.name):
            judge(case, device)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_recorded(kind, device, subtests):
    for case in ours(kind):
        with subtests.test(case.name):
            judge(case, device)


def test_excluded_case_does_fail(subtests):
    """Or it can be taken off the list."""
    for case in itertools.chain(*map(cases, KINDS)):
        if reason_against(case) in EXCLUDED:
            with subtests.test(case.name), pytest.raises(Exception):  # noqa: B017  (whatever it says)
                judge(case, "reference")


def test_no_case_is_lost():
    """As many are judged as when this was written; each exclusion still excludes something."""
    reasons = collections.Counter()
    for kind in KINDS:
        assert len(ours(kind)) >= AT_LEAST[kind]
        reasons.update(reason_against(case) for case in cases(kind))
    assert set(NO_OP) | set(EXCLUDED) <= set(reasons), "excludes nothing"
    names = [
        case.name for kind in KINDS for case in cases(kind) if not REASONS.keys() & {case.subject, *case.operators}
    ]
    for pattern in " ".join(EXCLUDED.values()).split():
        assert fnmatch.filter(names, pattern), f"{pattern} excludes nothing"
    needed = {operator for kind in KINDS for case in cases(kind) for operator in (case.subject, *case.operators)}
    assert set(REASONS) <= needed, f"{set(REASONS) - needed}: no case has it"
    assert not set(REASONS) & UNDERSTOOD


# --- the judge is judged ----------------------------------------------------------------------------------------------


FAULTS = {
    "Conv": kernel("conv2d", lambda right: lambda x, w, b, *options: right(x, w[:, :, ::-1], b, *options)),
    "AveragePool": kernel("avg_pool2d", lambda right: lambda x, window, include_pad: right(x, window, not include_pad)),
    "Softmax": kernel("softmax", lambda right: lambda x, axis: np.exp(x) / np.exp(x).sum(axis, keepdims=True)),
    "ReduceMean": kernel("sum", lambda right: lambda x, axes, keepdims: right(x, axes, True)),
    "ArgMax": kernel("argmax", lambda right: lambda x, axis: right(x[..., ::-1], axis)),
}


@pytest.mark.parametrize("operator", FAULTS)
def test_judge_rejects_a_fault(operator):
    def complaints():
        for case in itertools.chain(*(ours(kind, operator) for kind in KINDS)):
            try:
                judge(case, "reference")
            except AssertionError:
                yield case.name

    assert not list(complaints())
    with FAULTS[operator]():
        assert list(complaints())
