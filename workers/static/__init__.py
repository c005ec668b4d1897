"""Training steps that need nothing of the host, so that a GPU can replay them as one CUDA graph.

`tables` has what an epoch's steps need, drawn before it begins; `arena` the state of K members, `updates` the
optimizers, `step` the step itself, `capture` the graph, `check` its comparison with `Workload.step`, `shelf`
the steps that are kept, `form` what members that use one have in common, `epoch` the training of one member
or of several together. `obstacles` says what is trained as ever, and why.
"""
