import type { ProxyConfigResource } from '../../../contract/api/v1alpha1.gen.ts';
import { apiVersion, fieldManagers, managedByLabel, managedByValue, proxyName } from '../../../contract/names.ts';
import type { KubeClient } from '../../../runtime/kube/kube-client.ts';
import { applyObject, deleteObject } from '../../../runtime/kube/verbs.ts';
import { kinds } from '../../kube/kinds.ts';
import type { NamespaceFacts } from './facts.ts';
import type { ConfigPlan } from './plan-config.ts';
import type { WriteMemory } from './write-memory.ts';

/**
 * Carries out the plan for the ProxyConfig.
 *
 * Bound to the version that the plan was made from: ports must not be given out by an old list.
 * @returns the ProxyConfig as it is stored now, null when there is none.
 * @throws KubeError 409 when it changed meanwhile: the reconcile runs again.
 */
export async function writeConfig(client: KubeClient, memory: WriteMemory, facts: NamespaceFacts, plan: ConfigPlan, signal: AbortSignal): Promise<ProxyConfigResource | null> {
  const before = facts.proxyConfig;
  switch (plan.action) {
    case 'none': case 'keep':
      return before;
    case 'delete': {
      const uid = before?.metadata.uid;
      await deleteObject(client, kinds.proxyConfig, facts.namespace, proxyName, { signal, ...(uid === undefined ? {} : { uid }) });
      memory.wroteConfig(facts.namespace, before, null);
      return null;
    }
    case 'write': {
      const version = before?.metadata.resourceVersion;
      const body = {
        apiVersion, kind: 'ProxyConfig',
        metadata: { name: proxyName, namespace: facts.namespace, labels: { [managedByLabel]: managedByValue }, ...(version === undefined ? {} : { resourceVersion: version }) },
        spec: plan.spec,
      };
      const written = await applyObject<ProxyConfigResource>(client, kinds.proxyConfig, body, { fieldManager: fieldManagers.operator, force: true, signal });
      memory.wroteConfig(facts.namespace, before, written);
      return written;
    }
    default:
      return plan satisfies never;
  }
}
