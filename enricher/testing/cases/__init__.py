"""What ``enricher test`` runs: files of cases, each with settings, input, the service's answers, and what comes out.

``document`` reads YAML and knows the line of everything, ``model`` says what may stand there, ``service`` answers as
scripted, ``compare`` tells what differs. Running them needs the worker, and is in ``enricher.cli``.
"""
