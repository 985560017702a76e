"""What people read: tables and plots for the terminal, figures for a paper. Nothing here computes results."""
