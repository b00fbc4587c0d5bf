import { readdirSync, readFileSync } from "node:fs";

/** One process of a group, as Linux' /proc tells it. */
export interface GroupMember {
  pid: number;
  title: string;
}

/** The live processes of a process group. vLLM's children stay in the group of the command (seen on 0.32). */
export function groupMembers(groupId: number): GroupMember[] {
  const members: GroupMember[] = [];
  for (const entry of readdirSync("/proc")) {
    const pid = Number(entry);
    if (!Number.isInteger(pid)) continue;
    try {
      // proc(5): "pid (name) state ppid pgrp ..."; the name may hold spaces and brackets, so cut after the last one.
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
      const [state, , group] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      if (Number(group) !== groupId || state === "Z") continue;
      const title = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim();
      members.push({ pid, title });
    } catch {
      // The process ended between the listing and the reading.
    }
  }
  return members;
}

/** Sends a signal to a whole group; a group that is gone is no error. */
export function signalGroup(groupId: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-groupId, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
