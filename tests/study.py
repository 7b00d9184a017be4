"""A small study without clips, and the parts of one with clips, that the tests of the study share."""

from cteg.study.stimuli import Condition, Stimulus, StimulusSet, opaque_id, read_sentences

CONDITIONS = (
    Condition("cteg", "main"),
    Condition("cteg cool", "system"),
    Condition("reference", "reference"),
    Condition("nearest text", "system"),
    Condition("shuffled frames", "floor"),
    Condition("mismatched", "control"),
)


def study_without_clips(conditions=CONDITIONS, seed: int = 1, frames: int = 50, sentences=None) -> StimulusSet:
    sentences = tuple(sentences or read_sentences())
    stimuli = tuple(
        Stimulus(opaque_id("key", s.id, c.name, sample), s.id, c.name, sample, frames + sample, "0" * 64)
        for s in sentences
        for c in conditions
        for sample in range(3)
    )
    return StimulusSet("study-1", seed, sentences, tuple(conditions), stimuli)
