import { CLOUD_ANSWER_MAX_CHARS, CLOUD_CALL_TIMEOUT_MS, CLOUD_PAGES_MAX, REPLICAS_MAX } from "./bounds.ts";
import type { Clock } from "./clock.ts";
import type { ReplicaSource } from "./config.ts";
import { type ReplicaAddress, replicaAt } from "./discovery.ts";
import { CloudError, type CredentialSource, credentialSource, type Fetch } from "./discovery-credentials.ts";
import { encoded, signed } from "./discovery-sigv4.ts";
import { at, type Element, readXml, textAt } from "./discovery-xml.ts";

type AwsSource = Extract<ReplicaSource, { aws: unknown }>["aws"];
type Env = Readonly<Record<string, string | undefined>>;

/** The world around discovery; a test replaces it. */
export interface CloudParts {
  readonly env: Env;
  readonly fetch: Fetch;
  readonly clock: Clock;
}

/** Instances that Auto Scaling can be asked about at once (its API reference). */
const INSTANCES_PER_CALL = 50;

interface Instance {
  readonly id: string;
  readonly address: string;
}

/**
 * The replicas among the region's machines: those with the tag that run and are in service. One that Auto Scaling is
 * about to end is told as draining: it has until its lifecycle hook ends to finish what it has. Machines outside any
 * group count as in service. The function that is returned rejects when that cannot be told.
 */
export function awsDiscovery(source: AwsSource, parts: CloudParts): () => Promise<ReplicaAddress[]> {
  const credentials = credentialSource(parts.env, parts.fetch);
  const ec2 = api("ec2", "2016-11-15", parts.env.AWS_ENDPOINT_URL_EC2, source, parts, credentials);
  const scalingUrl = parts.env.AWS_ENDPOINT_URL_AUTO_SCALING;
  const scaling = api("autoscaling", "2011-01-01", scalingUrl, source, parts, credentials);
  return async () => {
    const instances = await runningInstances(ec2, source.tag);
    const states = await lifecycleStates(scaling, instances);
    return instances.flatMap(({ id, address }) => {
      const state = states.get(id) ?? "InService";
      const draining = state.startsWith("Terminating");
      if (state !== "InService" && !draining) return [];
      return [{ ...replicaAt(address, source.port, source.dcgmPort), draining }];
    });
  };
}

async function runningInstances(ec2: Api, { key, value }: AwsSource["tag"]): Promise<Instance[]> {
  const filters = {
    "Filter.1.Name": `tag:${key}`,
    "Filter.1.Value.1": value,
    "Filter.2.Name": "instance-state-name",
    "Filter.2.Value.1": "running",
    MaxResults: String(REPLICAS_MAX),
  };
  const pages = await everyPage((token) =>
    ec2("DescribeInstances", { ...filters, ...(token === "" ? {} : { NextToken: token }) }),
  );
  const found = pages.flatMap((page) => at(page, "reservationSet", "item", "instancesSet", "item"));
  return (
    found
      // The filter is the server's; who is sent orders is decided here.
      .filter((item) => textAt(item, "instanceState", "name") === "running")
      .map((item) => ({ id: textAt(item, "instanceId"), address: textAt(item, "privateIpAddress") }))
      .filter(({ id, address }) => id !== "" && address !== "")
      .sort((a, b) => (a.id < b.id ? -1 : 1))
  );
}

/** Pages until one names no next; throws rather than take a part of the replicas for all. */
async function everyPage(ask: (token: string) => Promise<Element>): Promise<Element[]> {
  const pages: Element[] = [];
  let token = "";
  do {
    if (pages.length === CLOUD_PAGES_MAX) throw new CloudError("too_many_pages");
    const page = await ask(token);
    pages.push(page);
    token = textAt(page, "nextToken");
  } while (token !== "");
  return pages;
}

/** Instance → its lifecycle state; none for a machine that is in no group. */
async function lifecycleStates(scaling: Api, instances: readonly Instance[]): Promise<Map<string, string>> {
  const states = new Map<string, string>();
  for (let from = 0; from < instances.length; from += INSTANCES_PER_CALL) {
    const asked = instances.slice(from, from + INSTANCES_PER_CALL);
    const members = asked.map(({ id }, index) => [`InstanceIds.member.${index + 1}`, id] as const);
    const answer = await scaling("DescribeAutoScalingInstances", Object.fromEntries(members));
    const path = ["DescribeAutoScalingInstancesResult", "AutoScalingInstances", "member"];
    for (const member of at(answer, ...path)) {
      states.set(textAt(member, "InstanceId"), textAt(member, "LifecycleState"));
    }
  }
  return states;
}

type Api = (action: string, parameters: Readonly<Record<string, string>>) => Promise<Element>;

/** One of AWS's query APIs: a signed form goes there, XML comes back. */
function api(
  service: string,
  version: string,
  endpoint: string | undefined,
  { region }: AwsSource,
  { fetch, clock }: CloudParts,
  credentials: CredentialSource,
): Api {
  const url = new URL(endpoint || `https://${service}.${region}.${domainOf(region)}/`);
  const headers = { "content-type": "application/x-www-form-urlencoded; charset=utf-8" };
  return async (action, parameters) => {
    const form = Object.entries({ Action: action, Version: version, ...parameters });
    const body = form.map(([name, value]) => `${encoded(name)}=${encoded(value)}`).join("&");
    const nowMs = clock.epochMs();
    const request = { method: "POST", url, headers, body };
    const answer = await fetch(url, {
      method: "POST",
      headers: signed(request, { service, region }, await credentials(nowMs), nowMs),
      body,
      redirect: "error",
      signal: AbortSignal.timeout(CLOUD_CALL_TIMEOUT_MS),
    });
    const text = await answer.text();
    if (text.length > CLOUD_ANSWER_MAX_CHARS) throw new CloudError("answer_too_large");
    if (!answer.ok) throw new CloudError(refusal(text) || `${service}_${answer.status}`);
    return readXml(text);
  };
}

/** AWS's partition for China has a domain of its own. */
function domainOf(region: string): string {
  return region.startsWith("cn-") ? "amazonaws.com.cn" : "amazonaws.com";
}

/** The error's code, as in "UnauthorizedOperation"; the message could quote what was sent. */
function refusal(text: string): string {
  return /<Code>([A-Za-z.]{1,64})<\/Code>/.exec(text)?.[1] ?? "";
}
