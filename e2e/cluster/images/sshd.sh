#!/bin/sh
# Entry point of the test image of an SSH host: keys in /keys (host_ed25519, authorized_keys), account deploy, port 2222. Not root: nobody else can log in.
set -eu
exec /usr/sbin/sshd -D -e -p 2222 -h /keys/host_ed25519 -o PidFile=none -o StrictModes=no -o UsePAM=no -o PasswordAuthentication=no -o KbdInteractiveAuthentication=no \
  -o AuthorizedKeysFile=/keys/authorized_keys -o LogLevel=VERBOSE -o 'Subsystem=sftp internal-sftp'
