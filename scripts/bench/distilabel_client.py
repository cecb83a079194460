"""distilabel's client, run by an interpreter that has it: one line of prompts in, one line of answers out.

    PYTHON scripts/bench/distilabel_client.py URL IN_FLIGHT

Started by `generation.py --distilabel PYTHON`. Its LLM takes a batch at a time, of as many prompts as may be in flight.
"""

import json
import sys
import time

from distilabel.models.llms import OpenAILLM  # type: ignore[import-not-found]


def main() -> None:
    """Answer every line of prompts until there is none."""
    url, in_flight = sys.argv[1], int(sys.argv[2])
    options = {"temperature": 0.7, "max_new_tokens": 512}
    llm = OpenAILLM(model="m", base_url=url, api_key="none", timeout=600, max_retries=0)
    llm.load()
    for line in sys.stdin:
        prompts = json.loads(line)
        cpu, texts = time.process_time(), []
        for start in range(0, len(prompts), in_flight):
            batch = [[{"role": "user", "content": prompt}] for prompt in prompts[start : start + in_flight]]
            texts += [found["generations"][0] for found in llm.generate_outputs(inputs=batch, **options)]
        print(json.dumps({"texts": texts, "cpu": time.process_time() - cpu}), flush=True)


if __name__ == "__main__":
    main()
