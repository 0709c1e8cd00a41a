"""Reference voices: are these recordings fit to lend a persona their voice, and made fit.

`recording` reads a file, `sound` and `speech` measure it, `speakers` and `words` compare who speaks
and what, `checks` judges, and `examining` does it all and makes of it what a persona keeps.
`making` and `writing` make a persona of it, and `studio` does all that for a server. The commands
(`agent.persona_commands`) and the page (`agent.voices_api`) talk to a person about it; `segments`
gives it to CSM.
"""
