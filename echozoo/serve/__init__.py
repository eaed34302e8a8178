"""A local page to click on: one process, one model, films that are opened one by one.

``guard`` decides who may speak, ``uploads`` what may be opened, ``masks`` and ``workspace`` hold
what one open film has, ``jobs`` works on all of it, ``numbers`` says what is shown of its
measures, ``app`` has the routes, ``page/`` is what the browser gets. FastAPI and uvicorn come with
the extra "serve"; ``guard``, ``app`` and ``connections`` are the modules that import them.
"""
