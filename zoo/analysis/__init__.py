"""What representations tell about a model: oversmoothing metrics (`zoo.analysis.oversmoothing`)."""
