#!/usr/bin/env node
process.stderr.write('the operator is not built yet\n');
process.exitCode = 1;
