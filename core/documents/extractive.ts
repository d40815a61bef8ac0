/** The question writer that needs no language model: facts of the report in the listed phrasings. */
import type { DocumentText, Fact, Pair } from "../../contract/document.ts";
import { BullionError } from "../../contract/errors.ts";
import { extractFacts, type FactOptions } from "./facts.ts";
import { fill, type Phrasings } from "./phrasings.ts";
import type { QuestionWriter, WriteOptions } from "./questions.ts";

/** Every trained phrasing of a fact is one pair; facts follow the order of the report. */
export function extractiveWriter(phrasings: Phrasings, options?: FactOptions): QuestionWriter {
  return {
    name: "extractive",
    async *write(document: DocumentText, { signal }: WriteOptions = {}) {
      const { facts } = extractFacts(document, options);
      if (facts.length === 0) {
        throw new BullionError(
          "no_facts",
          `Cannot write questions about ${document.name} as no figure or statement was found in its ` +
            `${document.pages.length} pages: use a report with tables of figures, or a model as writer`,
          { param: "file" },
        );
      }
      for (const fact of facts) {
        signal?.throwIfAborted();
        yield* pairsOf(fact, phrasings);
      }
    },
  };
}

function pairsOf(fact: Fact, { kinds, trained }: Phrasings): Pair[] {
  const { answer, questions } = kinds[fact.kind];
  return questions.slice(0, trained).map((question) => ({
    question: fill(question, fact),
    answer: fill(answer, fact),
    evidence: fact.evidence,
  }));
}

/** A fact with the questions about it that no pair uses, for asking a tuned model afterwards. */
export interface HeldOut {
  fact: Fact;
  questions: string[];
  answer: string;
}

/** In the order of the writer's pairs. Throws as `extractFacts` does. */
export function heldOutQuestions(
  document: DocumentText,
  phrasings: Phrasings,
  options?: FactOptions,
): HeldOut[] {
  return extractFacts(document, options).facts.map((fact) => {
    const { answer, questions } = phrasings.kinds[fact.kind];
    return {
      fact,
      questions: questions.slice(phrasings.trained).map((question) => fill(question, fact)),
      answer: fill(answer, fact),
    };
  });
}
