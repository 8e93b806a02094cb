"""Probability distributions, under the names of torch.distributions."""

from lazygrad.distributions import constraints, transforms
from lazygrad.distributions.continuous import Cauchy, Exponential, Gumbel, Laplace, Normal, Uniform
from lazygrad.distributions.counting import Binomial, Multinomial, NegativeBinomial
from lazygrad.distributions.derived import Independent, LogNormal, TransformedDistribution
from lazygrad.distributions.discrete import (
    Bernoulli,
    Categorical,
    Geometric,
    OneHotCategorical,
    OneHotCategoricalStraightThrough,
    Poisson,
)
from lazygrad.distributions.distribution import Distribution
from lazygrad.distributions.gamma_family import (
    Beta,
    Chi2,
    Dirichlet,
    FisherSnedecor,
    Gamma,
    InverseGamma,
    StudentT,
)
from lazygrad.distributions.kl import kl_divergence, register_kl
from lazygrad.distributions.mixture import (
    MixtureSameFamily,
    RelaxedBernoulli,
    RelaxedOneHotCategorical,
    VonMises,
)
from lazygrad.distributions.multivariate import LowRankMultivariateNormal, MultivariateNormal
from lazygrad.distributions.positive import HalfCauchy, HalfNormal, Kumaraswamy, Pareto, Weibull
from lazygrad.distributions.transforms import (
    AffineTransform,
    ComposeTransform,
    ExpTransform,
    PowerTransform,
    SigmoidTransform,
    SoftplusTransform,
    TanhTransform,
    Transform,
)

__all__ = [
    "AffineTransform",
    "Bernoulli",
    "Beta",
    "Binomial",
    "Categorical",
    "Cauchy",
    "Chi2",
    "ComposeTransform",
    "Dirichlet",
    "Distribution",
    "ExpTransform",
    "Exponential",
    "FisherSnedecor",
    "Gamma",
    "Geometric",
    "Gumbel",
    "HalfCauchy",
    "HalfNormal",
    "Independent",
    "InverseGamma",
    "Kumaraswamy",
    "Laplace",
    "LogNormal",
    "LowRankMultivariateNormal",
    "MixtureSameFamily",
    "Multinomial",
    "MultivariateNormal",
    "NegativeBinomial",
    "Normal",
    "OneHotCategorical",
    "OneHotCategoricalStraightThrough",
    "Pareto",
    "Poisson",
    "PowerTransform",
    "RelaxedBernoulli",
    "RelaxedOneHotCategorical",
    "SigmoidTransform",
    "SoftplusTransform",
    "StudentT",
    "TanhTransform",
    "Transform",
    "TransformedDistribution",
    "Uniform",
    "VonMises",
    "Weibull",
    "constraints",
    "kl_divergence",
    "register_kl",
    "transforms",
]
