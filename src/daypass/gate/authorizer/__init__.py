"""`check: review`: ask the API server about each token, and remember briefly what it said.

What decides is `daypass.gateway.decision`, fed with a TokenReview. Around it, in parts that know no
socket: what is remembered (`memory`), who may be asked about next (`flights`), what is answered
(`answers`); and, apart from them, the way to the API server (`api_server`) and the transports
(`http`), which carry questions and answers and decide nothing. Whoever can't be sure refuses: with
503, and the time after which it is worth to ask again.
"""
