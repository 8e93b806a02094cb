"""Probability distributions, under the names of torch.distributions."""

from lazygrad.distributions import (
    constraints,
    continuous,
    counting,
    derived,
    discrete,
    gamma_family,
    kl_pairs,
    matrices,
    mixture,
    multivariate,
    positive,
    transforms,
    utils,
)
from lazygrad.distributions.constraint_registry import biject_to, transform_to
from lazygrad.distributions.continuous import Cauchy, Exponential, Gumbel, Laplace, Normal, Uniform
from lazygrad.distributions.continuous_bernoulli import ContinuousBernoulli
from lazygrad.distributions.counting import Binomial, Multinomial, NegativeBinomial
from lazygrad.distributions.derived import Independent, LogisticNormal, LogNormal, TransformedDistribution
from lazygrad.distributions.discrete import (
    Bernoulli,
    Categorical,
    Geometric,
    OneHotCategorical,
    OneHotCategoricalStraightThrough,
    Poisson,
)
from lazygrad.distributions.distribution import Distribution
from lazygrad.distributions.exp_family import ExponentialFamily
from lazygrad.distributions.gamma_family import (
    Beta,
    Chi2,
    Dirichlet,
    FisherSnedecor,
    Gamma,
    InverseGamma,
    StudentT,
)
from lazygrad.distributions.generalized_pareto import GeneralizedPareto
from lazygrad.distributions.kl import kl_divergence, register_kl
from lazygrad.distributions.matrices import LKJCholesky, Wishart
from lazygrad.distributions.mixture import (
    MixtureSameFamily,
    RelaxedBernoulli,
    RelaxedOneHotCategorical,
    VonMises,
)
from lazygrad.distributions.multivariate import LowRankMultivariateNormal, MultivariateNormal
from lazygrad.distributions.positive import HalfCauchy, HalfNormal, Kumaraswamy, Pareto, Weibull
from lazygrad.distributions.transforms import (
    AbsTransform,
    AffineTransform,
    CatTransform,
    ComposeTransform,
    CorrCholeskyTransform,
    CumulativeDistributionTransform,
    ExpTransform,
    IndependentTransform,
    LowerCholeskyTransform,
    PositiveDefiniteTransform,
    PowerTransform,
    ReshapeTransform,
    SigmoidTransform,
    SoftmaxTransform,
    SoftplusTransform,
    StackTransform,
    StickBreakingTransform,
    TanhTransform,
    Transform,
    identity_transform,
)
from lazygrad.helpers import add_paths

# PyTorch has a file for nearly every class
add_paths(__name__, {
    **dict.fromkeys(("cauchy", "exponential", "gumbel", "laplace", "normal", "uniform"), (continuous,)),
    **dict.fromkeys(("bernoulli", "categorical", "geometric", "one_hot_categorical", "poisson"), (discrete,)),
    **dict.fromkeys(("binomial", "multinomial", "negative_binomial"), (counting,)),
    **dict.fromkeys(("independent", "log_normal", "logistic_normal", "transformed_distribution"), (derived,)),
    **dict.fromkeys(("beta", "chi2", "dirichlet", "fishersnedecor", "gamma", "inverse_gamma", "studentT"),
                    (gamma_family,)),
    **dict.fromkeys(("half_cauchy", "half_normal", "kumaraswamy", "pareto", "weibull"), (positive,)),
    **dict.fromkeys(("lkj_cholesky", "wishart"), (matrices,)),
    **dict.fromkeys(("mixture_same_family", "relaxed_bernoulli", "relaxed_categorical", "von_mises"),
                    (mixture,)),
    **dict.fromkeys(("lowrank_multivariate_normal", "multivariate_normal"), (multivariate,)),
})

__all__ = [
    "AbsTransform",
    "AffineTransform",
    "Bernoulli",
    "Beta",
    "Binomial",
    "CatTransform",
    "Categorical",
    "Cauchy",
    "Chi2",
    "ComposeTransform",
    "ContinuousBernoulli",
    "CorrCholeskyTransform",
    "CumulativeDistributionTransform",
    "Dirichlet",
    "Distribution",
    "ExpTransform",
    "Exponential",
    "ExponentialFamily",
    "FisherSnedecor",
    "Gamma",
    "GeneralizedPareto",
    "Geometric",
    "Gumbel",
    "HalfCauchy",
    "HalfNormal",
    "Independent",
    "IndependentTransform",
    "InverseGamma",
    "Kumaraswamy",
    "LKJCholesky",
    "Laplace",
    "LogNormal",
    "LogisticNormal",
    "LowRankMultivariateNormal",
    "LowerCholeskyTransform",
    "MixtureSameFamily",
    "Multinomial",
    "MultivariateNormal",
    "NegativeBinomial",
    "Normal",
    "OneHotCategorical",
    "OneHotCategoricalStraightThrough",
    "Pareto",
    "Poisson",
    "PositiveDefiniteTransform",
    "PowerTransform",
    "RelaxedBernoulli",
    "RelaxedOneHotCategorical",
    "ReshapeTransform",
    "SigmoidTransform",
    "SoftmaxTransform",
    "SoftplusTransform",
    "StackTransform",
    "StickBreakingTransform",
    "StudentT",
    "TanhTransform",
    "Transform",
    "TransformedDistribution",
    "Uniform",
    "VonMises",
    "Weibull",
    "Wishart",
    "biject_to",
    "constraints",
    "identity_transform",
    "kl_pairs",
    "kl_divergence",
    "register_kl",
    "transform_to",
    "transforms",
    "utils",
]
