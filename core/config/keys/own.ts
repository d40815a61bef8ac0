/** Keys that LLaMA-Factory does not have. */
import { honoured, key } from "./key.ts";
import { boolean, choice, float, orNull } from "./value_types.ts";

export const OWN_KEYS = {
  /** Refuse to train when the cut-off would shorten a record. */
  reject_truncated: key(boolean, false, honoured("train")),
  /** Ceiling of device memory for the job, in GB of 10^9 bytes. */
  memory_limit_gb: key(orNull(float({ above: 0 })), null, honoured("train")),
  /** fp8: the frozen base's matrix products in fp8. */
  compute_dtype: key(choice("auto", "fp8"), "auto", honoured("train")),
};
