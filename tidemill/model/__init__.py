"""The model itself: features, estimators, the files a trained model is kept in. Needs pandas and scikit-learn."""
