"""The champion as MLflow runs it: a model from code, so that no class is pickled. MLflow alone imports this file.

Asked with JPEGs or PNGs as bytes (base64 where JSON carries them), one a row. Answers with a table: prediction (class
number), class (its name), confidence, and on request (`params={"probabilities": True}`) all classes' probabilities.
"""

from __future__ import annotations

import base64
from typing import Any

from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

PARAMETERS = {"probabilities": False, "batch_size": 16}
"""What may be given beside the images, with its default."""


class Champion(PythonModel):
    """An exported ensemble behind MLflow's interface."""

    def load_context(self, context: Any) -> None:
        """Load the export among the model's artifacts."""
        from overlap.ensemble import load

        self._ensemble = load(context.artifacts["ensemble"])

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def] # MLflow reads the types
        """Ask the ensemble.

        Args:
            context: MLflow's.
            model_input: a data frame of one column, or a list.
            params: as of `PARAMETERS`.
        """
        import pandas

        asked = PARAMETERS | (params or {})
        column = model_input.iloc[:, 0] if hasattr(model_input, "iloc") else model_input
        images = [base64.b64decode(image) if isinstance(image, str) else bytes(image) for image in column]
        said = self._ensemble.predict(images, int(asked["batch_size"]))
        names = self._ensemble.class_names
        answer: dict[str, Any] = {
            "prediction": said.argmax(axis=1),
            "class": [names[number] for number in said.argmax(axis=1).tolist()],
            "confidence": said.max(axis=1).astype("float64"),
        }
        if asked["probabilities"]:
            answer["probabilities"] = said.astype("float64").tolist()
        return pandas.DataFrame(answer)


set_model(Champion())
