/**
 * What a training recipe makes of its records, without training: ids, labels and what they say.
 *
 * Reads the data as a job would, in a folder that is gone afterwards. Creates no job.
 */
import { BullionError } from "../../contract/errors.ts";
import { newId } from "../../contract/ids.ts";
import type { TrainerDoor } from "../../bridge/doors.ts";
import { readRecipe } from "../config/llamafactory.ts";
import { toEncodeSpec } from "../config/specs.ts";
import type { EncodedRecord, PreviewRequest } from "../rooms.ts";
import { canonicalFiles, convert, locateDatasets } from "./data.ts";
import type { Planning } from "./plan.ts";

/** Throws what creating the job would throw, and `no_such_record`. */
export async function* preview(
  { text, origin, record }: PreviewRequest,
  planning: Planning,
  trainer: TrainerDoor,
  maxRecords: number,
): AsyncGenerator<EncodedRecord> {
  const { keys } = readRecipe(text, "train");
  const model = planning.resolver.resolve(keys.model_name_or_path!, origin, {
    trustRemoteCode: planning.trust_remote_code && keys.trust_remote_code,
    param: "model_name_or_path",
  });
  const { dataset_dir } = keys;
  const names = { train: keys.dataset ?? [], eval: [], dataset_dir };
  const sources = locateDatasets(names, origin, planning.store);
  const folder = await Deno.makeTempDir({ prefix: "bullion-" });
  try {
    await convert(sources, folder, maxRecords, new AbortController().signal);
    const train = canonicalFiles(folder, "train", sources.train.length);
    const spec = toEncodeSpec(keys, { model: model.base, train, eval: [], record });
    const work = trainer.start({ type: "encode", id: newId("request"), spec });
    for await (const event of work.events) {
      if (event.type === "failed") throw BullionError.from(event.error);
      if (event.type === "encoded") yield* event.records as unknown as EncodedRecord[];
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
