# SPDX-License-Identifier: Apache-2.0
"""launch.py MODEL PORT [SLOTS] - llama.cpp's own server, which the wheel xllamacpp carries, in this process."""

import signal
import sys

import xllamacpp

params = xllamacpp.CommonParams()
params.model.path, params.port, params.model_alias = sys.argv[1], int(sys.argv[2]), ["babble"]
params.n_parallel, params.n_ctx, params.n_predict, params.endpoint_slots = int((sys.argv + [2])[3]), 8192, 64, True
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(params)
signal.pause()
