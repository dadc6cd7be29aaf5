"""Tests of specialisation."""
