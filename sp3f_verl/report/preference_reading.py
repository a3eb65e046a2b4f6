"""How the pictures of a preference or self-play run are read: file -> (title, what it shows, what would be bad)."""

READ = {
    "learning.png": (
        "Loss, accuracy, margin",
        "Accuracy is the share of pairs whose preferred side has the higher reward, margin the mean difference of the "
        "rewards. Where all rewards are equal (a reference, before training) none is higher and accuracy is about 0.",
        "a held-out loss that rises while the training loss falls; an accuracy of 1 within a few steps: the pairs are "
        "too easy to teach much.",
    ),
    "reward_by_role.png": (
        "Rewards",
        "dpo, spin: beta times the log-ratio to reference or opponent. tspin: alpha times the log-likelihood. "
        "tspin_ref: alpha times the log-ratio. simpo: beta times the log-likelihood per token.",
        "both lines falling, the preferred one more slowly.",
    ),
    "log_likelihood.png": (
        "Log-likelihoods",
        "Absolute, under the policy in training: summed over a response, and per token. A sum is lower for a longer "
        "response alone; compare sides per token.",
        "the preferred side falling while the margin grows.",
    ),
    "advantage.png": (
        "Advantages",
        "Current: reward of y minus y'. Historical: y' minus y0 (T-SPIN with beta above 0). Beside them L(y) - L(y') "
        "per token, by iteration where there are several (Fig. 7 of the T-SPIN paper, there in sums).",
        "a gap below 0 under a growing margin, as the paper finds for SPIN; a historical advantage below 0.",
    ),
    "saturation_length.png": (
        "Saturation and lengths",
        "Saturated: pairs whose gradient weight is within 1 % of its limits. Tokens: of responses as trained on.",
        "saturation near 1: nothing more is learned, or alpha is too large for sums of log-probs; a length gap that is "
        "large against the lengths, or grows over iterations.",
    ),
    "drift.png": (
        "Drift and KL",
        "How far the policy went: log-ratio to reference or opponent by side, L of the preferred side against its "
        "value before training, and KL where the run measures it.",
        "the preferred side below 0; KL that grows while the held-out margin does not.",
    ),
    "generation.png": (
        "Generated responses by iteration",
        "Exact match: held-out prompts whose greedy response is the annotated one. Truncated, identical: shares of y'.",
        "truncation that grows; exact match that falls; identical near 1: nothing is left to learn from.",
    ),
}
