"""The three channels between the learner and its actors."""
