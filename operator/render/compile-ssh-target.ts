import type { FieldPath } from '../../contract/api/structural-schema.ts';
import type { TargetResource } from '../../contract/api/v1alpha1.gen.ts';
import type { SshTarget } from '../../contract/proxy-config.ts';
import type { Findings } from './problem.ts';
import { readHostKey } from './public-key.ts';

type SshResource = NonNullable<TargetResource['spec']['ssh']>;

/** Compiles an SSH host; `path` is that of the `ssh` field. A key that is none is refused here: the first login would be too late to learn that no host can ever show it. */
export function compileSshTarget(ssh: SshResource, path: FieldPath, findings: Findings): SshTarget['ssh'] {
  const hostKeys = compileKeys(ssh.hostKeys ?? [], [...path, 'hostKeys'], findings);
  const authorities = compileKeys(ssh.hostCertificateAuthorities ?? [], [...path, 'hostCertificateAuthorities'], findings);
  // The schema refuses it first (P5): an unknown host key is never accepted.
  if (hostKeys.length === 0 && authorities.length === 0 && !findings.isRejected()) findings.reject([...path, 'hostKeys'], 'Invalid', "name the host's keys or a host certificate authority");
  return {
    host: ssh.host, port: ssh.port, hostKeys, hostCertificateAuthorities: authorities, accounts: [...ssh.accounts].sort(),
    credentialsSecret: ssh.credentials.secretRef.name, accountCredentials: compileCredentials(ssh, path, findings),
    loginShell: { type: ssh.loginShell?.type ?? 'Bash', wrap: ssh.loginShell?.wrap ?? false }, level: ssh.level,
  };
}

/** Sorted and without repetition: the comment makes no other key. */
function compileKeys(texts: readonly string[], path: FieldPath, findings: Findings): string[] {
  const keys = new Set<string>();
  texts.forEach((text, index) => {
    const read = readHostKey(text);
    if (read.outcome === 'key') keys.add(read.key);
    else findings.reject([...path, index], 'Invalid', read.message);
  });
  return [...keys].sort();
}

function compileCredentials({ accounts, accountCredentials = [] }: SshResource, path: FieldPath, findings: Findings): Record<string, string> {
  accountCredentials.forEach(({ account }, index) => {
    if (!accounts.includes(account)) findings.reject([...path, 'accountCredentials', index, 'account'], 'Invalid', `accounts does not list ${account}`);
  });
  return Object.fromEntries([...accountCredentials].sort((a, b) => (a.account < b.account ? -1 : 1)).map(({ account, secretRef }) => [account, secretRef.name]));
}
