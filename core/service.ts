/**
 * Wires the rooms once: what commands and routes hold is a Service.
 *
 * The rooms' interfaces are in rooms.ts. Opening takes the data folder and goes on with what a restart
 * interrupted; closing puts a running job aside and ends both doors.
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ChatRoom } from "./chat/chat.ts";
import { Residents } from "./chat/residents.ts";
import { DatasetRoom } from "./files/datasets.ts";
import { DocumentRoom } from "./files/documents.ts";
import { FileRoom } from "./files/files.ts";
import { SharedDevice } from "./jobs/device.ts";
import { JobRoom } from "./jobs/jobs.ts";
import type { Plan } from "./jobs/plan.ts";
import { baseOf } from "./jobs/results.ts";
import { Metrics } from "./metrics/metrics.ts";
import { readAliases } from "./models/aliases.ts";
import { ModelRoom } from "./models/models.ts";
import { Resolver } from "./models/resolve.ts";
import type { Doors, Service, ServiceSettings } from "./rooms.ts";
import { Store } from "./store/store.ts";

export type * from "./rooms.ts";

const RECIPES = fileURLToPath(new URL("../configs/recipes", import.meta.url));

/** How long answers that are being written may take when the service stops: short ones end in it. */
const DRAIN_MS = 2_000;

/** Throws `data_folder_in_use` (`param`: the holder's address) and `invalid_model_aliases`. */
// deno-lint-ignore require-await -- a refusal is a rejection
export async function openService(
  settings: ServiceSettings,
  doors: Doors,
  command: string | null = null, // that opens it, as others are told who find the folder taken
): Promise<Service> {
  const aliases = readAliases(settings.models_file);
  const store = Store.open<Plan>(settings.data_dir, command);
  const { limits, trust_remote_code } = settings;
  const resolver = new Resolver({
    store,
    baseOfJob: (id) => {
      const plan = store.jobs.find(id)?.plan;
      return plan ? baseOf(plan) : null;
    },
    aliases,
    modelscope: settings.hub === "modelscope",
  });
  const residents = new Residents(
    doors.engine,
    settings.engine.max_models,
    settings.engine.idle_seconds,
  );
  const jobs = new JobRoom({
    store,
    planning: {
      store,
      resolver,
      trust_remote_code,
      readRecipeFile: (name) => Deno.readTextFileSync(join(RECIPES, name)),
    },
    trainer: doors.trainer,
    device: new SharedDevice(settings.jobs.gpu, doors.engine, residents),
    maxRecords: limits.max_records,
  });
  const files = new FileRoom(store, limits.max_upload_bytes);
  const datasets = new DatasetRoom(store, {
    bytes: limits.max_upload_bytes,
    records: limits.max_records,
  });
  const documents = new DocumentRoom({
    store,
    uploadBytes: limits.max_upload_bytes,
    maxPages: limits.max_pdf_pages,
    files,
    datasets,
  });
  const models = new ModelRoom({
    store,
    aliases,
    resolver,
    startedAt: Date.now() / 1000,
    release: (path, forget) => residents.release(path, forget),
  });
  const metrics = new Metrics();
  const chat = new ChatRoom({
    engine: doors.engine,
    residents,
    resolver,
    trustRemoteCode: trust_remote_code,
    mayFetch: (name) => store.models.all().some(({ base }) => base.name === name),
    metrics,
    places: settings.engine,
    onlyModel: () => models.only(),
  });
  jobs.recover();
  let closing: Promise<void> | null = null;
  return {
    files,
    datasets,
    documents,
    jobs,
    models,
    chat,
    metrics,
    folderKey: store.key,
    async health() {
      const engine = await doors.engine.status();
      const isOpen = closing === null;
      return {
        ready: isOpen && !["failed", "silent"].includes(engine.state),
        store: isOpen ? "ok" : "closed",
        engine,
        chat_suspended: residents.suspended,
        jobs: isOpen ? jobs.load : { running: null, queued: 0 },
      };
    },
    announce: (address) => store.announce(address),
    close() {
      return closing ??= (async () => {
        await Promise.all([jobs.close(), residents.close(DRAIN_MS)]);
        doors.trainer.close();
        store.close();
      })();
    },
  };
}
