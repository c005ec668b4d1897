"""Training steps without input from the host, which a GPU can replay as one CUDA graph.

`tables` holds the inputs of an epoch's steps, drawn before it begins; `arena` the state of K members;
`updates` the optimizers; `step` the step itself; `capture` the graph; `check` compares it with
`Workload.step`; `shelf` keeps steps; `form` says which members can use the same step; `epoch` trains one
member or several together; `obstacles` says which members are trained eagerly, and why.
"""
