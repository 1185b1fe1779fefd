"""From a schedule to a run: what is published, what arrived, what it cost, and the story of one event."""
