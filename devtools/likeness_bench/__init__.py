"""Pictures of people under several settings, and how like and how obedient they are.

`quality.py` in the folder above is the command. `metrics` is arithmetic; `people`, `prompts`,
`settings` and `graphs` say what is made, `plan` and `making` make it on a server, `recognisers`,
`clip` and `judging` look at it, `curves`, `sheets`, `tables` and `page` show what was seen;
`rehearsal` puts stand-ins and drawn people in the place of real ones.
"""
