# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end and fault tests stand on.

net     a network of its own for each test
netns   several hosts for one test, which can lose sight of each other
tree    processes: started, watched, ended by pid, their output kept
gateway `inferd up` and `inferd mock` as objects
fabric  registry, babysitter and router as objects; svc_doubles: peers that behave like the original's
raw     an HTTP client that shows every byte and how the connection ended
fake    engines that answer, lie and die as a script says
answers one of them for client libraries: the model's name says what it does
wait    until(): the only way to wait

A test that passes leaves nothing: no process, no sanitizer report, no line on stdout that is not a
log record. A test that fails prints what every process of its tree said.
"""
