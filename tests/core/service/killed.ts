/** A service whose job has written one checkpoint and works on: for a test to kill. */
import { openService } from "../../../core/service.ts";
import { FakeEngine, FakeTrainer } from "../doors.ts";
import { streamOf } from "../folder.ts";
import { RECORDS, rest, settingsIn, trainYaml } from "../jobs/room.ts";

const trainer = new FakeTrainer();
const service = await openService(settingsIn(Deno.args[0]!), { trainer, engine: new FakeEngine() });
await service.datasets.put("pairs", streamOf(RECORDS));
const { id } = await service.jobs.createTrain({ kind: "yaml", text: trainYaml(), origin: rest });
const work = await trainer.next();
work.checkpoint(4);
for (let step = 5;; step++) {
  work.step(step);
  await new Promise((resolve) => setTimeout(resolve, 5));
  if (step === 7) console.log(id);
}
