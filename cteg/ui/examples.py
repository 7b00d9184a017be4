"""The sentences that the page offers, and of which contact sheets are drawn: one per feeling, and a mixed one."""

EXAMPLES: dict[str, str] = {
    "joy": "I got the job! This is the best day of my life!",
    "sadness": "She waited every evening, and he never came back. I miss him so much.",
    "anger": "How dare you read my letters again!",
    "fear": "Did you hear that? I'm scared, there is someone in the house.",
    "surprise": "What? You are back already? I can't believe it!",
    "disgust": "Ugh, that is disgusting, something is rotting in the fridge.",
    "neutral": "The meeting has been moved to half past three.",
    "mixed": "I'm happy for you, but it hurts to see you go.",
}
