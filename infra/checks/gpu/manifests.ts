/** How Kubernetes manifests fit together and what they must not open. Pure: manifests in, findings out. */

type Labels = Readonly<Record<string, string>>;

interface Container {
  readonly name: string;
  readonly image: string;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly env?: readonly { readonly name: string; readonly value?: string }[];
  readonly ports?: readonly { readonly hostPort?: number }[];
  readonly resources?: { readonly limits?: Readonly<Record<string, string>> };
  readonly securityContext?: {
    readonly allowPrivilegeEscalation?: boolean;
    readonly privileged?: boolean;
    readonly capabilities?: { readonly drop?: readonly string[] };
  };
}

interface PodSpec {
  readonly containers?: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly hostNetwork?: boolean;
  readonly terminationGracePeriodSeconds?: number;
  readonly securityContext?: { readonly runAsNonRoot?: boolean };
}

interface PolicyRule {
  readonly from?: readonly {
    readonly podSelector?: { readonly matchLabels?: Labels };
    readonly ipBlock?: unknown;
  }[];
}

export interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly spec?: {
    readonly type?: string;
    readonly clusterIP?: string;
    readonly replicas?: number;
    readonly selector?: Labels & { readonly matchLabels?: Labels };
    readonly podSelector?: { readonly matchLabels?: Labels };
    readonly policyTypes?: readonly string[];
    readonly ingress?: readonly PolicyRule[];
    readonly ports?: readonly { readonly port: number }[];
    readonly template?: { readonly metadata: { readonly labels: Labels }; readonly spec: PodSpec };
  };
}

const MANIFEST_KINDS = [
  "Namespace",
  "NetworkPolicy",
  "Deployment",
  "StatefulSet",
  "Service",
  "PodDisruptionBudget",
];

/** Everything wrong, one line each. */
export function manifestFindings(manifests: readonly Manifest[]): string[] {
  const workloads = manifests.filter(({ spec }) => spec?.template !== undefined);
  return [
    ...manifests.flatMap((manifest) =>
      oneManifest(manifest).map((what) => `${manifest.kind} ${manifest.metadata.name}: ${what}`),
    ),
    ...workloads.flatMap((manifest) =>
      workload(manifest).map((what) => `${manifest.kind} ${manifest.metadata.name}: ${what}`),
    ),
    ...together(manifests, workloads),
  ];
}

function oneManifest({ kind, spec }: Manifest): string[] {
  return [
    ...(MANIFEST_KINDS.includes(kind)
      ? []
      : [`kind ${kind} has no place here${kind === "Secret" ? ": secrets are made out of band" : ""}`]),
    ...(kind === "Service" && ["LoadBalancer", "NodePort"].includes(spec?.type ?? "")
      ? ["opens a port to the outside"]
      : []),
  ];
}

function workload({ spec, kind }: Manifest): string[] {
  const pod = spec?.template?.spec ?? {};
  const all = [...(pod.containers ?? []), ...(pod.initContainers ?? [])];
  const words = all.flatMap(({ command = [], args = [] }) => [...command, ...args]);
  const drain = Number(/--shutdown-timeout=(\d+)/.exec(words.join(" "))?.[1] ?? 0);
  const gpus = Number(pod.containers?.[0]?.resources?.limits?.["nvidia.com/gpu"] ?? 0);
  const parallel = Number(/--tensor-parallel-size=(\d+)/.exec(words.join(" "))?.[1] ?? 0);
  return [
    ...(sameLabels(spec?.selector?.matchLabels, spec?.template?.metadata.labels)
      ? []
      : ["selector does not fit its pods"]),
    ...(pod.hostNetwork === true ? ["takes the node's network"] : []),
    ...(pod.securityContext?.runAsNonRoot === true ? [] : ["may run as root"]),
    ...((pod.terminationGracePeriodSeconds ?? 30) > drain
      ? []
      : [`is killed before it has drained for ${drain} s`]),
    ...(kind === "StatefulSet" && drain === 0 ? ["no --shutdown-timeout: streams are cut"] : []),
    ...(gpus === parallel ? [] : [`${gpus} GPUs for a tensor parallelism of ${parallel}`]),
    ...all.flatMap((container) =>
      oneContainer(container).map((what) => `container ${container.name}: ${what}`),
    ),
  ];
}

function oneContainer({ image, env = [], ports = [], resources, securityContext }: Container): string[] {
  return [
    ...(/@sha256:[0-9a-f]{64}$/.test(image) ? [] : [`image ${image} is not pinned by digest`]),
    ...(securityContext?.allowPrivilegeEscalation === false && securityContext.privileged !== true
      ? []
      : ["may gain rights"]),
    ...(securityContext?.capabilities?.drop?.includes("ALL") === true ? [] : ["keeps capabilities"]),
    ...(resources?.limits?.memory === undefined ? ["no memory limit"] : []),
    ...(ports.some(({ hostPort }) => hostPort !== undefined) ? ["opens a port of the node"] : []),
    ...env
      .filter(({ name, value }) => /SECRET|TOKEN|PASSWORD|API_KEY/.test(name) && value !== undefined)
      .map(({ name }) => `${name} is a secret in the manifest`),
  ];
}

function together(manifests: readonly Manifest[], workloads: readonly Manifest[]): string[] {
  const policies = manifests.filter(({ kind }) => kind === "NetworkPolicy");
  const denied = policies.some(
    ({ spec }) =>
      Object.keys(spec?.podSelector?.matchLabels ?? {}).length === 0 &&
      spec?.policyTypes?.includes("Ingress") &&
      (spec.ingress ?? []).length === 0,
  );
  const open = policies
    .filter(({ spec }) =>
      (spec?.ingress ?? []).some(
        ({ from = [] }) =>
          from.length === 0 ||
          from.some((peer) => peer.ipBlock !== undefined || peer.podSelector?.matchLabels === undefined),
      ),
    )
    .map(({ metadata }) => `NetworkPolicy ${metadata.name}: lets anybody in`);
  const services = manifests.filter(({ kind }) => kind === "Service");
  const lost = services
    .filter(
      ({ spec }) => !workloads.some((one) => sameLabels(spec?.selector, one.spec?.template?.metadata.labels)),
    )
    .map(({ metadata }) => `Service ${metadata.name}: selects no pods`);
  const balanced = services
    .filter(({ spec }) => spec?.clusterIP !== "None")
    .map(({ metadata }) => `Service ${metadata.name}: hides which replica answers; it must be headless`);
  const unguarded = workloads
    .filter(
      ({ metadata }) =>
        !manifests.some(
          ({ kind, metadata: other }) => kind === "PodDisruptionBudget" && other.name === metadata.name,
        ),
    )
    .map(({ metadata }) => `${metadata.name}: no disruption budget`);
  const few = workloads
    .filter(({ kind, spec }) => kind === "Deployment" && (spec?.replicas ?? 1) < 2)
    .map(({ metadata }) => `${metadata.name}: one gate is none while it is replaced`);
  return [
    ...(denied ? [] : ["no policy denies by default"]),
    ...open,
    ...lost,
    ...balanced,
    ...unguarded,
    ...few,
    ...unresolved(workloads, services),
  ];
}

/** Names that the gates look up, without a Service of that name, namespace and port. */
function unresolved(workloads: readonly Manifest[], services: readonly Manifest[]): string[] {
  const text = JSON.stringify(workloads).replace(/\\"/g, '"');
  const looked = [...text.matchAll(/"name":"([\w-]+)\.([\w-]+)\.svc\.[\w.]+","port":(\d+)/g)];
  if (looked.length === 0) return ["no gate looks for replicas by DNS"];
  return looked
    .filter(
      ([, name, namespace, port]) =>
        !services.some(
          ({ metadata, spec }) =>
            metadata.name === name &&
            metadata.namespace === namespace &&
            spec?.ports?.some((one) => one.port === Number(port)),
        ),
    )
    .map(
      ([, name, namespace, port]) => `gates look for ${name}.${namespace} at ${port}, which no Service is`,
    );
}

function sameLabels(wanted: Labels | undefined, given: Labels | undefined): boolean {
  const pairs = Object.entries(wanted ?? {}).filter(([, value]) => typeof value === "string");
  return pairs.length > 0 && pairs.every(([key, value]) => given?.[key] === value);
}
